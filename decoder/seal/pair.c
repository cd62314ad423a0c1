/* Key pairs in files: p11trace keygen. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h> /* PATH_MAX */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "decoder/seal/seal.h"

enum { TEXT = 1024 };

/* Writes a file that was not there; `private` ones are for their owner alone whatever the umask. */
static bool write_new(const char *who, const char *path, bool private, const char *text)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, private ? 0600 : 0644);
  if (fd < 0) {
    fprintf(stderr, "%s: %s: %s\n", who, path,
            errno == EEXIST ? "is there already and is not overwritten: what is sealed to a lost key is lost; choose "
                              "another name with -o"
                            : strerror(errno));
    return false;
  }
  size_t size = strlen(text);
  bool written = (!private || fchmod(fd, 0600) == 0) && write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
  if (close(fd) != 0) written = false;
  if (!written) {
    fprintf(stderr, "%s: %s: cannot be written: %s\n", who, path, strerror(errno));
    unlink(path);
  }
  return written;
}

bool seal_make_pair(const char *who, const char *name, const char *comment, char fingerprint[SEAL_NAME])
{
  char public_path[PATH_MAX], private_path[PATH_MAX], public_text[TEXT], hex[2 * P11T_SEAL_KEY + 1];
  uint8_t public[P11T_SEAL_KEY];
  if (strlen(name) > PATH_MAX - 5 || strlen(comment) > TEXT / 2) {
    fprintf(stderr, "%s: %.40s...: name or comment is too long: give a shorter one\n", who, name);
    return false;
  }
  snprintf(public_path, sizeof public_path, "%s.pub", name);
  snprintf(private_path, sizeof private_path, "%s.key", name);
  if (sodium_init() < 0) {
    fprintf(stderr, "%s: libsodium does not start\n", who);
    return false;
  }
  uint8_t *private = sodium_malloc(P11T_SEAL_KEY);
  char *private_text = sodium_malloc(TEXT);
  bool made = private != NULL && private_text != NULL;
  if (made) {
    crypto_box_keypair(public, private);
    seal_name(public, fingerprint);
    snprintf(public_text, sizeof public_text, P11T_SEAL_PUBLIC " %s %s\n",
             sodium_bin2hex(hex, sizeof hex, public, sizeof public), comment[0] != '\0' ? comment : fingerprint);
    /* The digits go straight to where they are wiped. */
    int n = snprintf(private_text, TEXT,
                     "# Private key of %s. Whoever has it can read the PINs, keys and data in traces that are sealed "
                     "to it.\n" P11T_SEAL_PRIVATE " ",
                     fingerprint);
    sodium_bin2hex(private_text + n, TEXT - (size_t)n - 1, private, P11T_SEAL_KEY);
    strcat(private_text, "\n");
    made = write_new(who, private_path, true, private_text);
    if (made && !write_new(who, public_path, false, public_text)) {
      unlink(private_path);
      made = false;
    }
  } else {
    fprintf(stderr, "%s: out of memory\n", who);
  }
  sodium_free(private_text);
  sodium_free(private);
  return made;
}
