#include "shim/trace/sealing.h"

#include <string.h>

void p11t_seal_nonce(uint8_t nonce[P11T_SEAL_NONCE], uint64_t record, uint32_t place, uint8_t seal_class,
                     uint64_t length)
{
  memset(nonce, 0, P11T_SEAL_NONCE);
  memcpy(nonce, &record, sizeof record);
  memcpy(nonce + 8, &place, sizeof place);
  nonce[12] = seal_class;
  memcpy(nonce + 16, &length, sizeof length);
}

/* Value of a hexadecimal digit, 255 for another character; no table and no branch that a private key would show in. */
static unsigned digit(char c)
{
  unsigned u = (unsigned char)c, number = u ^ 48u, letter = (u & ~32u) - 55u;
  unsigned is_number = (number - 10u) >> 8, is_letter = ((letter - 10u) ^ (letter - 16u)) >> 8;
  return ((is_number & number) | (is_letter & letter)) | (0xffu & ~(is_number | is_letter));
}

bool p11t_seal_parse(const char *text, const char *word, uint8_t key[P11T_SEAL_KEY])
{
  unsigned wrong = 0;
  size_t length = strlen(word);
  text += strspn(text, " \t\r\n");
  while (*text == '#') {
    text += strcspn(text, "\n");
    text += strspn(text, " \t\r\n");
  }
  if (strncmp(text, word, length) != 0 || text[length] != ' ') return false;
  text += length;
  text += strspn(text, " ");
  if (strcspn(text, " \t\r\n") != 2 * P11T_SEAL_KEY) return false;
  for (size_t i = 0; i < P11T_SEAL_KEY; i++) {
    unsigned high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    wrong |= (high | low) & 0xf0u;
    key[i] = (uint8_t)(high << 4 | (low & 15u));
  }
  return wrong == 0;
}
