#include "decoder/seal/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "decoder/cmd/cmd.h"

struct seal_key {
  uint8_t public[P11T_SEAL_KEY], private[P11T_SEAL_KEY];
};

struct seal_process {
  uint8_t key[P11T_SEAL_KEY];
};

static void *secret_alloc(size_t size)
{
  void *p = sodium_init() < 0 ? NULL : sodium_malloc(size);
  if (p == NULL) {
    fputs("p11trace: out of memory\n", stderr);
    exit(EXIT_COULD_NOT);
  }
  return p;
}

void seal_name(const uint8_t public_key[P11T_SEAL_KEY], char name[SEAL_NAME])
{
  uint8_t hash[32];
  crypto_generichash(hash, sizeof hash, public_key, P11T_SEAL_KEY, NULL, 0);
  for (unsigned i = 0; i < 8; i++) {
    if (i > 0) name[5 * i - 1] = '-';
    snprintf(name + 5 * i, 5, "%02x%02x", hash[2 * i], hash[2 * i + 1]);
  }
}

/* The file's text into `text`, which has `size` bytes, and who may use it. What is wrong with it, or NULL. */
static const char *slurp(const char *path, char *text, size_t size, mode_t *mode)
{
  struct stat st = {0};
  const char *problem = NULL;
  size_t n = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return strerror(errno);
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    problem = "is not a regular file";
  } else {
    for (ssize_t r; n < size - 1 && (r = read(fd, text + n, size - 1 - n)) > 0;) n += (size_t)r;
  }
  text[n] = '\0';
  *mode = st.st_mode;
  close(fd);
  return problem;
}

struct seal_key *seal_key_read(const char *who, const char *path)
{
  enum { SIZE = 4096 };
  struct seal_key *key = secret_alloc(sizeof *key);
  char *text = secret_alloc(SIZE);
  mode_t mode = 0;
  const char *problem = slurp(path, text, SIZE, &mode);
  if (problem == NULL && p11t_seal_parse(text, P11T_SEAL_PUBLIC, key->public))
    problem = "is the public key: give the private one, NAME.key";
  else if (problem == NULL && !p11t_seal_parse(text, P11T_SEAL_PRIVATE, key->private))
    problem = "is not a private key: give the NAME.key that `p11trace keygen` made";
  else if (problem == NULL && (mode & 077))
    problem = "others can read or write it: chmod 600 it, and make another pair if somebody may have read it";
  sodium_free(text);
  if (problem == NULL) {
    crypto_scalarmult_base(key->public, key->private);
    return key;
  }
  fprintf(stderr, "%s: %s: %s\n", who, path, problem);
  sodium_free(key);
  return NULL;
}

void seal_key_free(struct seal_key *key)
{
  sodium_free(key);
}

enum seal_fit seal_open_process(const struct seal_key *key, const struct process *process, struct seal_process **opened)
{
  *opened = NULL;
  if (!process->has_seal) return SEAL_NOTHING;
  if (sodium_memcmp(key->public, process->seal_public, P11T_SEAL_KEY) != 0) return SEAL_OTHER_KEY;
  struct seal_process *p = secret_alloc(sizeof *p);
  if (crypto_box_seal_open(p->key, process->seal_box, P11T_SEAL_BOX, key->public, key->private) != 0) {
    sodium_free(p);
    return SEAL_SPOILT;
  }
  *opened = p;
  return SEAL_FITS;
}

void seal_process_free(struct seal_process *opened)
{
  sodium_free(opened);
}

void seal_tell(const char *who, const struct seal_key *key, const struct process *process, enum seal_fit fit)
{
  char given[SEAL_NAME], wanted[SEAL_NAME];
  seal_name(key->public, given);
  seal_name(process->seal_public, wanted);
  switch (fit) {
    case SEAL_FITS: return;
    case SEAL_NOTHING:
      fprintf(stderr, "%s: %s: nothing in it is sealed (capture=%s): the key is not needed\n", who, process->path,
              process->capture);
      return;
    case SEAL_OTHER_KEY:
      fprintf(stderr, "%s: %s: is sealed to %s, the key that was given is %s: give the private key of that one\n", who,
              process->path, wanted, given);
      return;
    case SEAL_SPOILT:
      fprintf(
          stderr,
          "%s: %s: is sealed to %s, but its HEAD does not open with that key: it is damaged or was changed; ask for "
          "the trace again\n",
          who, process->path, wanted);
      return;
  }
}

static const struct value_sealed *sealed_of(const struct value *value)
{
  return value->what == VALUE_BYTES && value->form == P11T_V_SEALED ? value->sealed : NULL;
}

size_t seal_room(const struct value *value)
{
  const struct value_sealed *s = sealed_of(value);
  return s != NULL ? s->kept : 0;
}

unsigned seal_class_of(const struct value *value)
{
  const struct value_sealed *s = sealed_of(value);
  return s != NULL ? s->class : 0;
}

enum seal_result seal_open_value(const struct seal_process *opened, const struct value *value, uint8_t *to)
{
  const struct value_sealed *s = sealed_of(value);
  uint8_t nonce[P11T_SEAL_NONCE];
  if (s == NULL) return SEAL_NOT_SEALED;
  p11t_seal_nonce(nonce, s->record, s->place, s->class, value->length);
  if (crypto_secretbox_open_detached(to, s->box, s->box + s->kept, s->kept, nonce, opened->key) != 0)
    return SEAL_DAMAGED;
  return s->kept == value->length ? SEAL_OPENED : SEAL_CUT;
}
