#include "decoder/show/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER 65536

static _Noreturn void out_of_memory(void)
{
  fputs("p11trace: out of memory\n", stderr);
  exit(2);
}

void text_open(struct text *text, int fd)
{
  text->base = malloc(BUFFER);
  if (text->base == NULL) out_of_memory();
  text->at = text->base;
  text->end = text->base + BUFFER;
  text->fd = fd;
  text->error = 0;
}

int text_flush(struct text *text)
{
  const char *from = text->base;
  while (text->error == 0 && from < text->at) {
    ssize_t n = write(text->fd, from, (size_t)(text->at - from));
    if (n < 0) {
      if (errno != EINTR) text->error = errno;
      continue;
    }
    from += n;
  }
  text->at = text->base;
  return text->error;
}

void text_close(struct text *text)
{
  free(text->base);
  text->base = text->at = text->end = NULL;
}

void text_make_room(struct text *text, size_t size)
{
  if (text->fd >= 0) text_flush(text);
  size_t used = (size_t)(text->at - text->base), have = (size_t)(text->end - text->base);
  if (have - used >= size) return;
  while (have - used < size) {
    if (have > SIZE_MAX / 2) out_of_memory();
    have *= 2;
  }
  text->base = realloc(text->base, have);
  if (text->base == NULL) out_of_memory();
  text->at = text->base + used;
  text->end = text->base + have;
}

void text_padded(struct text *text, uint64_t value, unsigned digits)
{
  char buffer[20];
  char *p = buffer + sizeof buffer;
  do {
    *--p = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (p > buffer && (size_t)(buffer + sizeof buffer - p) < digits) *--p = '0';
  text_raw(text, p, (size_t)(buffer + sizeof buffer - p));
}

void text_u(struct text *text, uint64_t value)
{
  text_padded(text, value, 1);
}

static const char hex_digit[] = "0123456789abcdef";

void text_x(struct text *text, uint64_t value)
{
  char buffer[18];
  char *p = buffer + sizeof buffer;
  do {
    *--p = hex_digit[value & 15];
    value >>= 4;
  } while (value != 0);
  *--p = 'x';
  *--p = '0';
  text_raw(text, p, (size_t)(buffer + sizeof buffer - p));
}

void text_hex(struct text *text, const uint8_t *bytes, size_t size)
{
  while (size > 0) {
    size_t part = size < BUFFER / 4 ? size : BUFFER / 4; /* a value of megabytes needs no buffer of megabytes */
    text_reserve(text, 2 * part);
    for (size_t i = 0; i < part; i++) {
      *text->at++ = hex_digit[bytes[i] >> 4];
      *text->at++ = hex_digit[bytes[i] & 15];
    }
    bytes += part;
    size -= part;
  }
}
