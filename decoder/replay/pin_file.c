#include "decoder/replay/pin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool fail(const char *path, const char *what)
{
  fprintf(stderr, "p11trace replay: %s: %s\n", path, what);
  return false;
}

/* Byte by byte, so that no buffer keeps what follows or a copy. */
bool pin_file_read(struct replay_pin *pin, const char *path)
{
  const bool standard = strcmp(path, "-") == 0;
  const int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(path, strerror(errno));
  *pin = (struct replay_pin){0};
  bool any = false, fits = true;
  for (;;) {
    uint8_t byte = 0;
    const ssize_t n = read(fd, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      if (!standard) close(fd);
      return fail(path, strerror(error));
    }
    if (n == 0 || byte == '\n') break;
    any = true;
    if (pin->length < sizeof pin->bytes)
      pin->bytes[pin->length++] = byte;
    else
      fits = false;
  }
  if (!standard) close(fd);
  if (pin->length > 0 && pin->bytes[pin->length - 1] == '\r') pin->length--;
  if (fits && any) return pin->given = true;
  explicit_bzero(pin, sizeof *pin);
  return fail(path, any ? "its first line is too long for a PIN" : "it is empty: its first line must be the PIN");
}

bool pin_argument(struct replay_pin *pin, char *argument)
{
  const size_t length = strlen(argument);
  const bool fits = length <= sizeof pin->bytes;
  if (fits) {
    memcpy(pin->bytes, argument, length);
    pin->length = length;
    pin->given = true;
  }
  explicit_bzero(argument, length);
  return fits ? true : fail("--pin", "it is too long for a PIN");
}
