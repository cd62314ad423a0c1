/* Sealed values: what recorder and reader must agree on (FORMAT.md, section 9). No cryptography in here. */
#ifndef P11T_SEALING_H
#define P11T_SEALING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define P11T_SEAL_KEY 32   /* bytes of a public, a private and a value key */
#define P11T_SEAL_NONCE 24 /* of crypto_secretbox */
#define P11T_SEAL_MAC 16
#define P11T_SEAL_BOX 80 /* crypto_box_seal of a value key */
#define P11T_SEAL_SCHEME 1
#define P11T_SEAL_HEAD (1 + P11T_SEAL_KEY + P11T_SEAL_BOX) /* HEAD tag 24 */

/* What a key file says of itself. */
#define P11T_SEAL_PUBLIC "p11trace-seal-public-1"
#define P11T_SEAL_PRIVATE "p11trace-seal-private-1"

/* Class of a sealed value, in clear and bound to it. */
enum p11t_seal_class { P11T_SEAL_DATA = 1, P11T_SEAL_SECRET = 2, P11T_SEAL_PIN = 3 };

/* Nonce of one value: its place in the process's trace, its class and its length, so that it opens nowhere else. `place`
 * counts the sealed values of the record. */
void p11t_seal_nonce(uint8_t nonce[P11T_SEAL_NONCE], uint64_t record, uint32_t place, uint8_t seal_class,
                     uint64_t length);

/* Takes the key out of a key file's text: the first line that is not empty and no comment (#) is `word`, 64 hexadecimal
 * digits and, after a blank, anything. False when it is not. Does not depend on the key in the time it takes. */
bool p11t_seal_parse(const char *text, const char *word, uint8_t key[P11T_SEAL_KEY]);

#endif
