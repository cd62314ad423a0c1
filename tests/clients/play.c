/* A client that does what its arguments say, call by call: for bugs that were met in programs which we do not have.
 *
 *   play MODULE LABEL PIN STEP ...        play m.so Card 1234 a.open a.login '3*a.state' a.key a.init a.sign
 *
 * A step is [COUNT*][&][SESSION.]VERB[=ARGUMENT]. Sessions are the letters a to h, 0 is the handle 0; & begins the step in a
 * thread of its own, and `join` waits for all of these. The verbs are in the table below. Answers are not looked at. */
#include <ctype.h>
#include <pthread.h>
#include <time.h>

#include "p11client.h"

enum { SESSIONS = 8, THREADS = 16, SLOTS = 64 };

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static const char *pin;
static CK_SESSION_HANDLE sessions[SESSIONS];
static CK_OBJECT_HANDLE key;
static pthread_t threads[THREADS];
static int running;

static CK_SESSION_HANDLE *of(char letter)
{
  static CK_SESSION_HANDLE none;
  none = 0;
  return letter >= 'a' && letter < 'a' + SESSIONS ? &sessions[letter - 'a'] : &none;
}

/* All slots, by the two calls that it takes. */
static CK_ULONG list_slots(CK_SLOT_ID *id)
{
  CK_ULONG count = 0;
  p11->C_GetSlotList(CK_FALSE, NULL, &count);
  count = SLOTS;
  return p11->C_GetSlotList(CK_FALSE, id, &count) == CKR_OK ? count : 0;
}

static void slots(char letter, const char *argument)
{
  (void)letter, (void)argument;
  CK_SLOT_ID id[SLOTS];
  list_slots(id);
}

static void on(char letter, const char *argument)
{
  (void)letter;
  CK_SLOT_ID id[SLOTS];
  CK_TOKEN_INFO token;
  const CK_ULONG count = list_slots(id);
  for (CK_ULONG i = 0; i < count; i++)
    if (p11->C_GetTokenInfo(id[i], &token) == CKR_OK && !strncmp((char *)token.label, argument, strlen(argument))) {
      slot = id[i];
      return;
    }
  DIE("no token is called %s", argument);
}

static void slot_info(char letter, const char *argument)
{
  (void)letter, (void)argument;
  CK_SLOT_INFO info;
  p11->C_GetSlotInfo(slot, &info);
}

static void token(char letter, const char *argument)
{
  (void)letter, (void)argument;
  CK_TOKEN_INFO info;
  p11->C_GetTokenInfo(slot, &info);
}

static void open_it(char letter, const char *argument)
{
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (argument ? CKF_RW_SESSION : 0);
  if (p11->C_OpenSession(slot, flags, NULL, NULL, of(letter)) != CKR_OK) *of(letter) = 0;
}

static void close_it(char letter, const char *argument)
{
  (void)argument;
  p11->C_CloseSession(*of(letter));
  *of(letter) = 0;
}

static void ask_state(char letter, const char *argument)
{
  (void)argument;
  CK_SESSION_INFO info;
  p11->C_GetSessionInfo(*of(letter), &info);
}

/* As NSS does it before each use: is the token there, is the user logged in? */
static void poll(char letter, const char *argument)
{
  slot_info(letter, argument);
  ask_state(letter, argument);
}

static void log_in(char letter, const char *argument)
{
  if (!argument) argument = pin;
  p11->C_Login(*of(letter), CKU_USER, (CK_UTF8CHAR_PTR)argument, strlen(argument));
}

static void pad(char letter, const char *argument)
{
  (void)argument;
  p11->C_Login(*of(letter), CKU_USER, NULL, 0);
}

static void context(char letter, const char *argument)
{
  (void)argument;
  p11->C_Login(*of(letter), CKU_CONTEXT_SPECIFIC, (CK_UTF8CHAR_PTR)pin, strlen(pin));
}

static void log_out(char letter, const char *argument)
{
  (void)argument;
  p11->C_Logout(*of(letter));
}

/* Objects of that class, and of that label if there is one; the first of them is returned. */
static CK_OBJECT_HANDLE search(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *name)
{
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS, &class,       sizeof class           },
      {CKA_TOKEN, &yes,         sizeof yes             },
      {CKA_LABEL, (void *)name, name ? strlen(name) : 0}
  };
  CK_OBJECT_HANDLE found[16];
  CK_ULONG count = 0;
  if (p11->C_FindObjectsInit(session, what, name ? 3 : 2) != CKR_OK) return 0;
  p11->C_FindObjects(session, found, 16, &count);
  p11->C_FindObjectsFinal(session);
  return count ? found[0] : 0;
}

static void find_key(char letter, const char *argument)
{
  key = search(*of(letter), CKO_PRIVATE_KEY, argument);
}

static void certificates(char letter, const char *argument)
{
  const CK_OBJECT_HANDLE found = search(*of(letter), CKO_CERTIFICATE, argument);
  static const CK_ATTRIBUTE_TYPE type[] = {CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_ID, CKA_VALUE};
  CK_BYTE value[5][4096];
  CK_ATTRIBUTE a[5];
  for (int i = 0; i < 5; i++) a[i] = (CK_ATTRIBUTE){type[i], value[i], sizeof value[i]};
  if (found) p11->C_GetAttributeValue(*of(letter), found, a, 5);
}

static void profile(char letter, const char *argument)
{
  (void)argument;
  CK_OBJECT_CLASS class = CKO_PROFILE;
  CK_PROFILE_ID id;
  CK_ATTRIBUTE what[] =
      {
          {CKA_CLASS, &class, sizeof class}
  },
               answer = {CKA_PROFILE_ID, &id, sizeof id};
  CK_OBJECT_HANDLE found;
  CK_ULONG count = 0;
  if (p11->C_FindObjectsInit(*of(letter), what, 1) != CKR_OK) return;
  p11->C_FindObjects(*of(letter), &found, 1, &count);
  p11->C_FindObjectsFinal(*of(letter));
  if (count) p11->C_GetAttributeValue(*of(letter), found, &answer, 1);
}

/* CKA_PRIVATE and CKA_ALWAYS_AUTHENTICATE of the key. */
static void policy(char letter, const char *argument)
{
  (void)argument;
  CK_BBOOL is_private, always;
  CK_ATTRIBUTE a[] = {
      {CKA_PRIVATE,             &is_private, sizeof is_private},
      {CKA_ALWAYS_AUTHENTICATE, &always,     sizeof always    }
  };
  p11->C_GetAttributeValue(*of(letter), key, a, 2);
}

static void init(char letter, const char *argument)
{
  (void)argument;
  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  p11->C_SignInit(*of(letter), &mechanism, key);
}

static void sign(char letter, const char *argument)
{
  (void)argument;
  CK_BYTE data[32] = {1}, signature[512];
  CK_ULONG length = sizeof signature;
  p11->C_Sign(*of(letter), data, sizeof data, signature, &length);
}

static void wait_ms(char letter, const char *argument)
{
  (void)letter;
  const long ms = atol(argument);
  nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void join(char letter, const char *argument)
{
  (void)letter, (void)argument;
  while (running) pthread_join(threads[--running], NULL);
}

/* clang-format off */
static const struct {
  const char *name;
  void (*run)(char letter, const char *argument);
} verbs[] = {
  {"on",      on          }, /* =LABEL: from here on the slot is that token's */
  {"slots",   slots       }, /* how many slots, and which */
  {"slot",    slot_info   },
  {"token",   token       },
  {"open",    open_it     }, /* =rw: read/write */
  {"close",   close_it    },
  {"state",   ask_state   },
  {"poll",    poll        }, /* slot and state */
  {"login",   log_in      }, /* =PIN: another one */
  {"pad",     pad         }, /* a login without a PIN */
  {"context", context     }, /* the login for the operation that is begun */
  {"logout",  log_out     },
  {"key",     find_key    }, /* =LABEL: that private key is the one to sign with */
  {"certs",   certificates}, /* =LABEL: searched, and the first is read */
  {"profile", profile     },
  {"policy",  policy      }, /* CKA_PRIVATE and CKA_ALWAYS_AUTHENTICATE of the key */
  {"init",    init        },
  {"sign",    sign        },
  {"wait",    wait_ms     }, /* =MS: no call */
  {"join",    join        },
};
/* clang-format on */

static void *step(void *text)
{
  const char *s = text;
  char letter = '0';
  if (s[0] && s[1] == '.') {
    letter = s[0];
    s += 2;
  }
  const size_t length = strcspn(s, "=");
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
    if (strlen(verbs[i].name) == length && !strncmp(verbs[i].name, s, length)) {
      verbs[i].run(letter, s[length] ? s + length + 1 : NULL);
      return NULL;
    }
  DIE("no step %s", s);
}

int main(int argc, char **argv)
{
  if (argc < 4) DIE("usage: %s MODULE LABEL PIN STEP ...", argv[0]);
  CK_C_INITIALIZE_ARGS args = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
  CK_INFO info;
  p11 = module_list(argv[1]);
  pin = argv[3];
  MUST(p11->C_Initialize(&args));
  p11->C_GetInfo(&info);
  on('0', argv[2]);
  for (int i = 4; i < argc; i++) {
    char *s = argv[i], *star = strchr(s, '*');
    int times = 1;
    if (star && isdigit((unsigned char)*s)) {
      times = atoi(s);
      s = star + 1;
    }
    while (times-- > 0) {
      if (*s != '&') {
        step(s);
        continue;
      }
      if (running == THREADS || pthread_create(&threads[running++], NULL, step, s + 1)) DIE("too many threads");
    }
  }
  p11->C_Finalize(NULL);
  join('0', NULL);
  return 0;
}
