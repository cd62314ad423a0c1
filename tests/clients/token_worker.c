/* Works on a token until it is killed, says what it is about to do and what has returned, and lists what is there.
 *
 *   token_worker MODULE work PIN PREFIX SECONDS FULL   creates, changes, finds and destroys objects named PREFIX-...
 *   token_worker MODULE pin N SECONDS FULL             changes the user's PIN from pin-N to pin-N+1 and so on
 *   token_worker MODULE init SO-PIN N SECONDS FULL     initialises the token again and again, from token-N on
 *   token_worker MODULE list [PIN]                     lists label and objects; PIN: with the user's objects
 *
 * SECONDS 0: for ever. FULL: how often CKR_DEVICE_MEMORY may come before it ends; any other error ends it with status 3.
 * The token is the first that is there. Before a change comes the line "? KEY STATE", after it "+ KEY STATE" if it is
 * done and "- KEY STATE" if the disk was full. `list` has lines "KEY STATE" and ends with status 3 if an object is torn: its
 * value must be the one that belongs to its state. */
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "p11client.h"

#define MOST_VALUE 3100
#define MOST_KEYS 4000

enum kind { PUBLIC_DATA, PRIVATE_DATA, SECRET_KEY, KEY_PAIR, KINDS };

static CK_FUNCTION_LIST_PTR p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static unsigned full_left;
static time_t end_at;

static void say(char what, const char *key, unsigned state)
{
  char line[100];
  int n = state == 0 ? snprintf(line, sizeof line, "%c %s gone\n", what, key)
                     : snprintf(line, sizeof line, "%c %s %u\n", what, key, state);
  if (write(1, line, (size_t)n) != n) exit(1);
}

static bool go_on(void)
{
  return full_left > 0 && (end_at == 0 || time(NULL) < end_at);
}

/* What a change returned: true if it is done, false if the disk was full. */
static bool done(CK_RV rv, const char *key, unsigned state)
{
  if (rv != CKR_OK && (rv != CKR_DEVICE_MEMORY || full_left == UINT32_MAX)) DIE("%s %u: 0x%lx", key, state, rv);
  if (rv != CKR_OK) full_left--;
  say(rv == CKR_OK ? '+' : '-', key, state);
  return rv == CKR_OK;
}

/* The value of a state, which begins with its number: length and bytes follow from it, so that half of an old and half of a
 * new one is noticed. Data and secret keys have it as CKA_VALUE; secret keys also as CKA_ID, which may be changed. */
static CK_ULONG value_of(unsigned state, CK_BYTE value[MOST_VALUE])
{
  CK_ULONG size = 20 + state * 37 % (MOST_VALUE - 20);
  for (CK_ULONG i = 0; i < size; i++) value[i] = (CK_BYTE)(state * 7 + i);
  memcpy(value, &state, sizeof state);
  return size;
}

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static CK_RV create(enum kind kind, char *key, unsigned state, CK_OBJECT_HANDLE *object)
{
  static CK_OBJECT_CLASS data = CKO_DATA, secret = CKO_SECRET_KEY;
  static CK_KEY_TYPE generic = CKK_GENERIC_SECRET;
  static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_BYTE value[MOST_VALUE];
  CK_ULONG size = value_of(state, value);
  CK_ATTRIBUTE label = {CKA_LABEL, key, strlen(key)}, token = {CKA_TOKEN, &yes, 1}, bytes = {CKA_VALUE, value, size};
  CK_ATTRIBUTE id = {CKA_ID, value, size}, private = {CKA_PRIVATE, kind == PUBLIC_DATA ? &no : &yes, 1};
  CK_ATTRIBUTE of_data[] = {
      {CKA_CLASS, &data, sizeof data},
      label, token, bytes, private
  };
  CK_ATTRIBUTE of_secret[] = {
      {CKA_CLASS,       &secret,  sizeof secret },
      label,
      token,
      bytes,
      id,
      private,
      {CKA_KEY_TYPE,    &generic, sizeof generic},
      {CKA_SENSITIVE,   &no,      1             },
      {CKA_EXTRACTABLE, &yes,     1             }
  };
  CK_ATTRIBUTE of_public[] = {
      label, token, id, {CKA_EC_PARAMS, p256, sizeof p256}
  };
  CK_ATTRIBUTE of_private[] = {label, token, id, private};
  CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  CK_OBJECT_HANDLE public_key;
  switch (kind) {
    case SECRET_KEY: return p11->C_CreateObject(session, of_secret, sizeof of_secret / sizeof *of_secret, object);
    case KEY_PAIR: return p11->C_GenerateKeyPair(session, &mechanism, of_public, 4, of_private, 4, &public_key, object);
    default: return p11->C_CreateObject(session, of_data, sizeof of_data / sizeof *of_data, object);
  }
}

static CK_RV change(unsigned state, CK_OBJECT_HANDLE object)
{
  CK_BYTE value[MOST_VALUE];
  CK_ATTRIBUTE id = {CKA_ID, value, value_of(state, value)};
  return p11->C_SetAttributeValue(session, object, &id, 1);
}

/* How many objects have that name; the first two handles. */
static CK_ULONG find(char *key, CK_OBJECT_HANDLE found[2])
{
  CK_ATTRIBUTE label = {CKA_LABEL, key, strlen(key)};
  CK_ULONG count;
  MUST(p11->C_FindObjectsInit(session, &label, 1));
  MUST(p11->C_FindObjects(session, found, 2, &count));
  MUST(p11->C_FindObjectsFinal(session));
  return count;
}

static struct {
  char key[40];
  enum kind kind;
  CK_OBJECT_HANDLE object;
} keys[MOST_KEYS];

/* Some more objects are made than destroyed. */
static void work(const char *prefix)
{
  size_t count = 0;
  CK_OBJECT_HANDLE found[2];
  for (unsigned state = 1; go_on(); state++) {
    size_t i = (size_t)rand() % (count < MOST_KEYS ? count + 1 : count);
    int what = rand() % 16;
    if (i == count || (what < 6 && count < MOST_KEYS)) {
      enum kind kind = what == 0 ? KEY_PAIR : (enum kind)(state % KEY_PAIR);
      i = count;
      snprintf(keys[i].key, sizeof keys[i].key, "%s-%u", prefix, state);
      keys[i].kind = kind;
      say('?', keys[i].key, state);
      if (done(create(kind, keys[i].key, state, &keys[i].object), keys[i].key, state)) count++;
    } else if (what < 11 && keys[i].kind == SECRET_KEY) {
      say('?', keys[i].key, state);
      done(change(state, keys[i].object), keys[i].key, state);
    } else if (keys[i].kind != KEY_PAIR) {
      say('?', keys[i].key, 0);
      if (done(p11->C_DestroyObject(session, keys[i].object), keys[i].key, 0)) {
        if (find(keys[i].key, found) != 0) DIE("%s is still found", keys[i].key);
        keys[i] = keys[--count];
        continue;
      }
    } else if (find(keys[i].key, found) != 2) {
      DIE("%s is not found", keys[i].key);
    }
    if (i < count && keys[i].kind != KEY_PAIR && (find(keys[i].key, found) != 1 || found[0] != keys[i].object))
      DIE("%s is not found", keys[i].key);
  }
}

static void change_pin(unsigned from)
{
  char old_pin[20], new_pin[20];
  for (; go_on();) {
    int old_size = snprintf(old_pin, sizeof old_pin, "pin-%u", from);
    int new_size = snprintf(new_pin, sizeof new_pin, "pin-%u", from + 1);
    say('?', "pin", from + 1);
    if (done(p11->C_SetPIN(session, (CK_UTF8CHAR_PTR)old_pin, (CK_ULONG)old_size, (CK_UTF8CHAR_PTR)new_pin,
                           (CK_ULONG)new_size),
             "pin", from + 1))
      from++;
  }
}

static void open_session(void)
{
  MUST(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
}

/* A token that is whole has the label, the user's PIN and the objects of one initialisation. */
static void initialise(char *so_pin, unsigned state)
{
  char label[40], key[24], pin[20];
  CK_OBJECT_HANDLE object;
  for (; go_on(); state++) {
    MUST(p11->C_CloseAllSessions(slot));
    snprintf(key, sizeof key, "token-%u", state);
    snprintf(label, sizeof label, "%-32.32s", key);
    say('?', "token", state);
    bool is_done =
        done(p11->C_InitToken(slot, (CK_UTF8CHAR_PTR)so_pin, strlen(so_pin), (CK_UTF8CHAR_PTR)label), "token", state);
    open_session();
    if (!is_done) continue;
    MUST(p11->C_Login(session, CKU_SO, (CK_UTF8CHAR_PTR)so_pin, strlen(so_pin)));
    say('?', "pin", state);
    done(p11->C_InitPIN(session, (CK_UTF8CHAR_PTR)pin, (CK_ULONG)snprintf(pin, sizeof pin, "pin-%u", state)), "pin",
         state);
    for (unsigned i = 0; i < 3; i++) {
      snprintf(key, sizeof key, "object-%u-%u", state, i);
      say('?', key, state + i);
      done(create(PUBLIC_DATA, key, state + i, &object), key, state + i);
    }
  }
}

/* The state that an attribute tells, which must be whole; 0 if the object does not have it. */
static unsigned state_of(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const char *key)
{
  CK_BYTE value[MOST_VALUE], expected[MOST_VALUE];
  CK_ATTRIBUTE a = {type, value, sizeof value};
  unsigned state;
  CK_RV rv = p11->C_GetAttributeValue(session, object, &a, 1);
  if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE) return 0;
  if (rv != CKR_OK) DIE("attribute 0x%lx of %s: 0x%lx", type, key, rv);
  memcpy(&state, value, sizeof state);
  if (a.ulValueLen < sizeof state || a.ulValueLen != value_of(state, expected) ||
      memcmp(value, expected, a.ulValueLen) != 0)
    DIE("%s is torn", key);
  return state;
}

static void show(CK_OBJECT_HANDLE object)
{
  CK_OBJECT_CLASS class;
  CK_OBJECT_HANDLE found[2];
  char key[64];
  CK_ATTRIBUTE name[] = {
      {CKA_CLASS, &class, sizeof class  },
      {CKA_LABEL, key,    sizeof key - 1}
  };
  unsigned value = 0, id = 0;
  MUST(p11->C_GetAttributeValue(session, object, name, 2));
  key[name[1].ulValueLen] = '\0';
  if (class == CKO_DATA || class == CKO_SECRET_KEY) value = state_of(object, CKA_VALUE, key);
  if (class != CKO_DATA) id = state_of(object, CKA_ID, key);
  if ((class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY) && find(key, found) != 2) DIE("%s has only one half", key);
  if (class == CKO_SECRET_KEY && value != (unsigned)atoi(strrchr(key, '-') + 1)) DIE("%s has another's value", key);
  if (class != CKO_PUBLIC_KEY) printf("%s %u\n", key, id != 0 ? id : value);
}

static void list(void)
{
  static CK_OBJECT_HANDLE objects[100000];
  CK_ULONG count;
  CK_TOKEN_INFO info;
  MUST(p11->C_GetTokenInfo(slot, &info));
  printf("label %.32s\n", (char *)info.label);
  if (!(info.flags & CKF_USER_PIN_INITIALIZED)) puts("pin unset");
  MUST(p11->C_FindObjectsInit(session, NULL, 0));
  MUST(p11->C_FindObjects(session, objects, sizeof objects / sizeof *objects, &count));
  MUST(p11->C_FindObjectsFinal(session));
  for (CK_ULONG i = 0; i < count; i++) show(objects[i]);
}

static void login(char *pin)
{
  MUST(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
}

int main(int argc, char **argv)
{
  CK_ULONG slots = 1;
  const char *verb = argc > 2 ? argv[2] : "";
  if (argc < 3) DIE("usage: see the source");
  srand((unsigned)getpid());
  p11 = module_list(argv[1]);
  MUST(p11->C_Initialize(NULL));
  MUST(p11->C_GetSlotList(CK_TRUE, &slot, &slots));
  open_session();
  if (strcmp(verb, "list") != 0) {
    long seconds = argc > 5 ? atol(argv[argc - 2]) : 0;
    end_at = seconds > 0 ? time(NULL) + seconds : 0;
    full_left = (unsigned)atol(argv[argc - 1]);
    if (full_left == 0) full_left = UINT32_MAX;
  }
  if (strcmp(verb, "work") == 0 && argc == 7) {
    login(argv[3]);
    work(argv[4]);
  } else if (strcmp(verb, "pin") == 0 && argc == 6) {
    change_pin((unsigned)atol(argv[3]));
  } else if (strcmp(verb, "init") == 0 && argc == 7) {
    initialise(argv[3], (unsigned)atol(argv[4]));
  } else if (strcmp(verb, "list") == 0) {
    if (argc > 3) login(argv[3]);
    list();
  } else {
    DIE("usage: see the source");
  }
  MUST(p11->C_Finalize(NULL));
  return 0;
}
