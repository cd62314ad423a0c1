/* Making, mapping and turning the counter of removals and insertions. */
#include "core/card.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole file; the rest is zero. A whole page, so that no load can fall behind its end. */
#define SIZE 4096
static const char magic[8] = "p11card";
struct file {
  char magic[sizeof magic];
  tok_card changes;
};

const tok_card tok_card_fixed;

static bool path_of(const char *token_path, char path[PATH_MAX])
{
  int n = snprintf(path, PATH_MAX, "%s" TOK_CARD_SUFFIX, token_path);
  if (n > 0 && n < PATH_MAX) return true;
  errno = ENAMETOOLONG;
  return false;
}

CK_RV tok_card_make(const char *token_path)
{
  char path[PATH_MAX], bytes[SIZE] = "";
  if (!path_of(token_path, path)) return CKR_DEVICE_ERROR;
  memcpy(bytes, magic, sizeof magic);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool written = fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) close(fd);
  if (written) return CKR_OK;
  if (fd >= 0) unlink(path);
  switch (error) {
    case ENOSPC:
    case EDQUOT: return CKR_DEVICE_MEMORY;
    case EACCES:
    case EPERM:
    case EROFS: return CKR_TOKEN_WRITE_PROTECTED;
    default: return CKR_DEVICE_ERROR;
  }
}

void tok_card_unmake(const char *token_path)
{
  char path[PATH_MAX];
  if (path_of(token_path, path)) unlink(path);
}

/* Maps the file; NULL with errno, which is EINVAL if it is another kind of file. */
static struct file *map(const char *token_path, int access, int protection)
{
  char path[PATH_MAX];
  struct stat st;
  if (!path_of(token_path, path)) return NULL;
  int fd = open(path, access | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return NULL;
  struct file *file = MAP_FAILED;
  if (fstat(fd, &st) == 0) {
    errno = EINVAL;
    if (S_ISREG(st.st_mode) && st.st_size == SIZE) file = mmap(NULL, SIZE, protection, MAP_SHARED, fd, 0);
  }
  if (file != MAP_FAILED && memcmp(file->magic, magic, sizeof magic) != 0) {
    munmap(file, SIZE);
    errno = EINVAL;
    file = MAP_FAILED;
  }
  int error = errno;
  close(fd);
  errno = error;
  return file != MAP_FAILED ? file : NULL;
}

const tok_card *tok_card_open(const char *token_path, char *why, size_t why_size)
{
  const struct file *file = map(token_path, O_RDONLY, PROT_READ);
  why[0] = '\0';
  if (file != NULL) return &file->changes;
  if (errno != ENOENT)
    snprintf(why, why_size, "%s" TOK_CARD_SUFFIX ": %s: the token cannot be removed", token_path,
             errno == EINVAL ? "not the file that p11token made" : strerror(errno));
  return NULL;
}

void tok_card_close(const tok_card *card)
{
  if (card == NULL || card == &tok_card_fixed) return;
  munmap((char *)(uintptr_t)card - offsetof(struct file, changes), SIZE);
}

bool tok_card_turn(const char *token_path, bool out, bool *changed)
{
  /* Open for writing until the counter has changed: the kernel tells of the last close, which is that of the mapping. */
  struct file *file = map(token_path, O_RDWR, PROT_READ | PROT_WRITE);
  if (file == NULL) return false;
  uint32_t now = atomic_load(&file->changes);
  *changed = false;
  while (tok_card_is_out(now) != out && !*changed)
    *changed = atomic_compare_exchange_weak(&file->changes, &now, now + 1);
  munmap(file, SIZE);
  return true;
}
