/* Logs in, makes a private RSA key and a secret key whose values the caller knows, and is killed: what must not be in
 * the live file is then not there because a clean end had removed it.
 *
 *   killed_login MODULE PIN LABEL KEYFILE
 *
 * The first slot with an initialised token is used. KEYFILE has lines "n HEX", "e HEX", "d HEX", "p HEX", "q HEX",
 * "dp HEX", "dq HEX", "qinv HEX" and "aes HEX". */
#include <signal.h>

#include "p11client.h"

struct part {
  const char *name;
  CK_ATTRIBUTE_TYPE type;
  CK_BYTE value[1024];
  CK_ULONG length;
};

static struct part parts[] = {
    {.name = "n",    .type = CKA_MODULUS         },
    {.name = "e",    .type = CKA_PUBLIC_EXPONENT },
    {.name = "d",    .type = CKA_PRIVATE_EXPONENT},
    {.name = "p",    .type = CKA_PRIME_1         },
    {.name = "q",    .type = CKA_PRIME_2         },
    {.name = "dp",   .type = CKA_EXPONENT_1      },
    {.name = "dq",   .type = CKA_EXPONENT_2      },
    {.name = "qinv", .type = CKA_COEFFICIENT     },
    {.name = "aes",  .type = CKA_VALUE           },
};
enum { PARTS = sizeof parts / sizeof *parts, AES = PARTS - 1 };

static void read_key(const char *path)
{
  static char name[8], hex[2049];
  FILE *f = fopen(path, "r");
  if (f == NULL) DIE("%s: cannot be read", path);
  while (fscanf(f, "%7s %2048s", name, hex) == 2) {
    int i = 0;
    while (i < PARTS && strcmp(parts[i].name, name) != 0) i++;
    if (i == PARTS) DIE("%s: unknown part %s", path, name);
    for (const char *h = hex; h[0] != '\0' && h[1] != '\0'; h += 2) {
      unsigned byte;
      if (sscanf(h, "%2x", &byte) != 1) DIE("%s: not hexadecimal", path);
      parts[i].value[parts[i].length++] = (CK_BYTE)byte;
    }
  }
  fclose(f);
  for (int i = 0; i < PARTS; i++) {
    if (parts[i].length == 0) DIE("%s: no %s", path, parts[i].name);
  }
}

static CK_SLOT_ID first_token(CK_FUNCTION_LIST_PTR f)
{
  CK_SLOT_ID slots[16];
  CK_ULONG count = 16;
  MUST(f->C_GetSlotList(CK_TRUE, slots, &count));
  for (CK_ULONG i = 0; i < count; i++) {
    CK_TOKEN_INFO info;
    MUST(f->C_GetTokenInfo(slots[i], &info));
    if (info.flags & CKF_TOKEN_INITIALIZED) return slots[i];
  }
  DIE("no initialised token");
}

int main(int argc, char **argv)
{
  if (argc != 5) DIE("usage: %s MODULE PIN LABEL KEYFILE", argv[0]);
  read_key(argv[4]);
  CK_FUNCTION_LIST_PTR f = module_list(argv[1]);
  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE object;
  MUST(f->C_Initialize(NULL));
  MUST(f->C_OpenSession(first_token(f), CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  MUST(f->C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)argv[2], strlen(argv[2])));

  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY, secret_key = CKO_SECRET_KEY;
  CK_KEY_TYPE rsa = CKK_RSA, aes = CKK_AES;
  CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
  CK_ATTRIBUTE key[6 + AES] = {
      {CKA_CLASS,    &private_key, sizeof private_key},
      {CKA_KEY_TYPE, &rsa,         sizeof rsa        },
      {CKA_LABEL,    argv[3],      strlen(argv[3])   },
      {CKA_TOKEN,    &no,          sizeof no         },
      {CKA_PRIVATE,  &yes,         sizeof yes        },
      {CKA_SIGN,     &yes,         sizeof yes        },
  };
  for (int i = 0; i < AES; i++) key[6 + i] = (CK_ATTRIBUTE){parts[i].type, parts[i].value, parts[i].length};
  MUST(f->C_CreateObject(session, key, 6 + AES, &object));

  CK_ATTRIBUTE secret[] = {
      {CKA_CLASS,       &secret_key,      sizeof secret_key},
      {CKA_KEY_TYPE,    &aes,             sizeof aes       },
      {CKA_TOKEN,       &no,              sizeof no        },
      {CKA_PRIVATE,     &yes,             sizeof yes       },
      {CKA_VALUE,       parts[AES].value, parts[AES].length},
      {CKA_SENSITIVE,   &no,              sizeof no        },
      {CKA_EXTRACTABLE, &yes,             sizeof yes       },
  };
  MUST(f->C_CreateObject(session, secret, sizeof secret / sizeof *secret, &object));

  /* And read back what the token gives. */
  CK_BYTE value[1024];
  CK_ATTRIBUTE read_back = {CKA_VALUE, value, sizeof value};
  MUST(f->C_GetAttributeValue(session, object, &read_back, 1));
  raise(SIGKILL);
  return 3;
}
