#include "decoder/cmd/plain_stderr.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "decoder/show/text.h"

/* Without memory from the heap: "out of memory" comes this way too. */
struct line {
  char text[1024];
  size_t used;
  int error;
};

static void flush(struct line *line)
{
  for (size_t from = 0; line->error == 0 && from < line->used;) {
    const ssize_t n = write(STDERR_FILENO, line->text + from, line->used - from);
    if (n >= 0)
      from += (size_t)n;
    else if (errno != EINTR)
      line->error = errno;
  }
  line->used = 0;
}

static void add(struct line *line, char c)
{
  if (line->used == sizeof line->text) flush(line);
  line->text[line->used++] = c;
}

static ssize_t put(void *cookie, const char *data, size_t size)
{
  static const char digit[] = "0123456789abcdef";
  const uint8_t *at = (const uint8_t *)data, *const end = at + size;
  struct line line = {.used = 0};
  (void)cookie;
  while (at < end) {
    uint32_t code;
    const size_t length = text_character(at, (size_t)(end - at), &code);
    const bool plain = length > 0 && (code == '\n' || !text_is_harmful(code));
    for (const uint8_t *next = at + (length > 0 ? length : 1); at < next; at++) {
      if (plain) {
        add(&line, (char)*at);
      } else {
        add(&line, '\\');
        add(&line, 'x');
        add(&line, digit[*at >> 4]);
        add(&line, digit[*at & 15]);
      }
    }
  }
  flush(&line);
  if (line.error == 0) return (ssize_t)size;
  errno = line.error;
  return -1;
}

void plain_stderr(void)
{
  FILE *plain = fopencookie(NULL, "w", (cookie_io_functions_t){.write = put});
  if (plain == NULL) return;
  setvbuf(plain, NULL, _IONBF, 0);
  stderr = plain; /* a variable in glibc: argp and perror() use it too */
}
