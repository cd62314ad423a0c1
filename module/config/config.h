/* The settings of the module: P11TOKEN_CONF, else ~/.config/p11token/p11token.conf (XDG_CONFIG_HOME), else the
 * defaults; then P11TOKEN_DIR; then the parameter string of C_Initialize (modutil -string, library parameters of
 * NSS). The same names everywhere, `name = value` in the file, `name=value` separated by blanks in the string; a
 * value may stand in ' or ". Settings are data: config/token_settings.def. A program that runs with another user's
 * rights (set-id) reads none of this from its environment: its home is that of its effective user. */
#ifndef TOK_CONFIG_H
#define TOK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

enum tok_spare { TOK_SPARE_AUTO, TOK_SPARE_ALWAYS, TOK_SPARE_NEVER };

struct tok_config {
  char *directory;           /* of the token files; made when the first token is */
  unsigned kdf_cost;         /* of new tokens: scrypt N = 2^cost; default 15, about 100 ms */
  unsigned pin_retries;      /* before a lock-out, of new tokens; default 10 */
  unsigned so_pin_retries;   /* default 10 */
  unsigned min_pin;          /* bytes; default 4 */
  enum tok_spare spare_slot; /* a slot with a blank token: auto (only if there is no token at all) */
  bool removable;            /* new tokens can be taken out (core/card.h); default false */
  bool legacy;               /* DES, RC2, RC4 and MD5 mechanisms; default true: PKCS #12 files need some */
  bool tls;                  /* the TLS mechanisms, all or none; default true */
};

/* Reads the settings; parameters may be NULL. CKR_OK, CKR_ARGUMENTS_BAD for the parameters, CKR_GENERAL_ERROR for
 * file and environment, CKR_HOST_MEMORY; with a sentence in `why` that names file and line, or "parameters", and
 * what to do (empty after success). An unknown name is an error. *config is NULL after an error. */
unsigned long tok_config_read(const char *parameters, struct tok_config **config, char *why, size_t why_size);
void tok_config_free(struct tok_config *config); /* NULL is allowed */

#endif
