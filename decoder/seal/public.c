/* The public key file, looked at before a recorder has to: it cannot say much, and in a sandbox nothing. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/seal/seal.h"

const char *seal_public_problem(const char *path, uint8_t key[P11T_SEAL_KEY])
{
  char text[4096];
  struct stat st;
  size_t n = 0;
  const char *problem = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return errno == ENOENT ? "is not there: `p11trace keygen` makes a pair" : strerror(errno);
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    problem = "is not a regular file";
  } else if (st.st_mode & 022) {
    problem = "others may write it, so it is not used: chmod go-w it";
  } else {
    for (ssize_t r; n < sizeof text - 1 && (r = read(fd, text + n, sizeof text - 1 - n)) > 0;) n += (size_t)r;
    text[n] = '\0';
    if (p11t_seal_parse(text, P11T_SEAL_PRIVATE, key))
      problem = "is a private key, which belongs to whoever reads the trace: give NAME.pub";
    else if (!p11t_seal_parse(text, P11T_SEAL_PUBLIC, key))
      problem = "is not a public key: give the NAME.pub that `p11trace keygen` made";
  }
  close(fd);
  if (problem != NULL) explicit_bzero(key, P11T_SEAL_KEY);
  explicit_bzero(text, sizeof text);
  return problem;
}
