/* p11token: what its verbs share. Each verb_NAME.c parses its options with argp and does its work through the module's
 * own C_ functions, which are linked in; exit status 0 fine, 2 could not. */
#ifndef TOK_TOOL_H
#define TOK_TOOL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#ifndef P11_PROTOTYPES
#define P11_PROTOTYPES
#endif
#include "pkcs11.h"

struct tok_attrs;

enum { TOK_FINE = 0, TOK_COULD_NOT = 2 };

/* argv[0] is "p11token VERB". */
int tok_verb_backup(int argc, char **argv);
int tok_verb_export(int argc, char **argv);
int tok_verb_import(int argc, char **argv);
int tok_verb_init(int argc, char **argv);
int tok_verb_insert(int argc, char **argv);
int tok_verb_list(int argc, char **argv);
int tok_verb_pin(int argc, char **argv);
int tok_verb_remove(int argc, char **argv);

/* --- messages (tool_say.c) ------------------------------------------------------------------------------------- */

/* "p11token: what: where: what to do" on stderr. False, for `return tok_fail(...)`. */
bool tok_fail(const char *what, const char *where, const char *todo, ...) __attribute__((format(printf, 3, 4)));
/* The same for a function of the module that failed. */
bool tok_fail_rv(const char *what, const char *where, CK_RV rv);
/* The same for wrong usage: the advice is followed by a hint at --help and the program ends with TOK_COULD_NOT. */
_Noreturn void tok_misuse(const struct argp_state *state, const char *what, const char *where, const char *todo);

/* --- PINs and passphrases (tool_secret.c) ---------------------------------------------------------------------- */

struct tok_secret {
  const char *name; /* "user PIN": for questions and messages */
  char *bytes;      /* NUL-terminated; NULL: not known */
  size_t len;
};
#define TOK_MAX_SECRET 1024

/* From the command line: copied, and wiped where it was, so that `ps` does not show it for long. */
bool tok_secret_argument(struct tok_secret *secret, char *argument);
/* The first line of a file; "-" is standard input. */
bool tok_secret_file(struct tok_secret *secret, const char *path);
/* If it is not known: asks on the terminal, without echo; `twice` for a new one. `option` names the option that would
 * have given it, for the message when there is no terminal. */
bool tok_secret_need(struct tok_secret *secret, const char *option, bool twice);
void tok_secret_clear(struct tok_secret *secret);

/* --- the token (tool_token.c) ---------------------------------------------------------------------------------- */

struct tok_args {
  const char *dir, *label, *serial; /* NULL: not given */
  CK_SLOT_ID slot;
  bool has_slot, force;
  struct tok_secret pin, so_pin, new_pin, file_pin;
};
/* clang-format off */
#define TOK_ARGS_NEW                           \
  {.pin.name = "user PIN",                     \
   .so_pin.name = "security officer's PIN",    \
   .new_pin.name = "new PIN",                  \
   .file_pin.name = "passphrase of the file"}

enum {
  TOK_OPT_DIR = 256, TOK_OPT_TOKEN, TOK_OPT_SERIAL, TOK_OPT_SLOT, TOK_OPT_FORCE, TOK_OPT_PIN, TOK_OPT_PIN_FILE,
  TOK_OPT_SO_PIN, TOK_OPT_SO_PIN_FILE, TOK_OPT_NEW_PIN, TOK_OPT_NEW_PIN_FILE, TOK_OPT_FILE_PIN, TOK_OPT_FILE_PIN_FILE,
  TOK_OPT_OWN /* the first of a verb's own */
};

/* Rows of a verb's options. tok_option is what a verb's parser calls for them: 0, or ARGP_ERR_UNKNOWN for any other. */
#define TOK_OPTIONS_TOKEN                                                                              \
  {"token",  TOK_OPT_TOKEN,  "LABEL",  0, "The token with this label (needed if there is more than one token)", 20}, \
  {"serial", TOK_OPT_SERIAL, "NUMBER", 0, "The token with this serial number", 20},                    \
  {"slot",   TOK_OPT_SLOT,   "NUMBER", 0, "The token in this slot", 20}, TOK_OPTIONS_DIR
#define TOK_OPTIONS_DIR \
  {"dir", TOK_OPT_DIR, "DIR", 0, "Folder of the token files (default: P11TOKEN_DIR, or as configured)", 21}
#define TOK_OPTIONS_PIN                                                                         \
  {"pin",      TOK_OPT_PIN,      "PIN",  0, "The user's PIN; without it, asked for", 10},       \
  {"pin-file", TOK_OPT_PIN_FILE, "FILE", 0, "The user's PIN is the first line of FILE (- is standard input)", 10}
#define TOK_OPTIONS_SO_PIN                                                                      \
  {"so-pin",      TOK_OPT_SO_PIN,      "PIN",  0, "The security officer's PIN; without it, asked for", 11}, \
  {"so-pin-file", TOK_OPT_SO_PIN_FILE, "FILE", 0, "The security officer's PIN is the first line of FILE", 11}
/* clang-format on */
error_t tok_option(struct tok_args *args, int key, char *arg, const struct argp_state *state);
void tok_args_clear(struct tok_args *args);

struct tok_place {
  CK_SLOT_ID slot;
  CK_SESSION_HANDLE session; /* 0: none */
  CK_TOKEN_INFO info;
  char label[33], serial[17]; /* of info, as strings */
};

/* C_Initialize with these settings (may be NULL) beside those of the environment and --dir; tok_stop ends it. */
bool tok_start(const struct tok_args *args, const char *settings);
void tok_stop(void);
/* All slots; *slots is the caller's (free). */
bool tok_slots(CK_SLOT_ID **slots, CK_ULONG *count);
/* C_GetTokenInfo into slot, info, label, serial. */
CK_RV tok_look(CK_SLOT_ID slot, struct tok_place *place);
/* The token that the arguments choose; if they choose none, the only one. */
bool tok_choose(const struct tok_args *args, struct tok_place *place);
bool tok_open(struct tok_place *place, bool rw);
/* Which slots have a token that the arguments choose, also those whose token is out; the first one into *first. */
enum tok_which { TOK_ANY, TOK_REMOVABLE, TOK_OUT };
struct tok_slot;
size_t tok_fitting(const struct tok_args *args, enum tok_which which, struct tok_slot **first);
/* Asks for the PIN if it is not known. */
bool tok_log_in(struct tok_place *place, CK_USER_TYPE user, struct tok_secret *pin);
/* Is this PIN of a length that the token takes? */
bool tok_pin_fits(const struct tok_place *place, const struct tok_secret *pin);

/* --- objects (tool_objects.c) ---------------------------------------------------------------------------------- */

/* An attribute into a set; a missing or sensitive one is left out and false. */
bool tok_fetch(const struct tok_place *place, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, struct tok_attrs *into);
CK_RV tok_create(const struct tok_place *place, const struct tok_attrs *attrs, CK_OBJECT_HANDLE *object);
/* Handles of what matches (attrs may be NULL: all); *found is the caller's (free). */
bool tok_find_all(const struct tok_place *place, const struct tok_attrs *attrs, CK_OBJECT_HANDLE **found,
                  size_t *count);
/* Hexadecimal digits, with or without colons between them, as bytes; false if they are something else or too many. */
bool tok_from_hex(const char *text, CK_BYTE *bytes, size_t room, size_t *len);
/* A label in quotes; what would harm a terminal is written as hexadecimal digits. */
void tok_print_text(const CK_BYTE *text, size_t len);
/* One line about an object: what it is, type and size of its key, label, id, what it may be used for. */
void tok_describe(const struct tok_place *place, CK_OBJECT_HANDLE object);

/* --- files (tool_files.c) -------------------------------------------------------------------------------------- */

/* A whole file of at most 16 MiB with a NUL behind it, or NULL after an error message. To be freed with tok_wipe_free
 * of *size + 1 bytes: it may hold a key. "-": standard input. */
void *tok_read_file(const char *path, size_t *size);

/* Gives a finished file its name; one that has that name already, or has got it meanwhile, is replaced only with
 * `force`. False with errno. */
bool tok_put_in_place(const char *temporary, const char *path, bool force);
/* Writes a whole file with that mode, or nothing; an existing one is replaced only with `force`. "-": standard
 * output. */
bool tok_write_file(const char *path, const void *data, size_t size, unsigned mode, bool force);

#endif
