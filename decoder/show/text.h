/* Text on its way to a file descriptor or into memory, without stdio: ten million lines are printed through this. */
#ifndef SHOW_TEXT_H
#define SHOW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct text {
  char *base, *at, *end;
  int fd;    /* -1: keeps everything in memory, base to at */
  int error; /* errno of the first write that failed, 0 none; what comes after it is thrown away */
};

/* Prepares `text` for `fd`, or for memory with -1. Ends the program when there is no memory, as all of these do. */
void text_open(struct text *text, int fd);

/* Writes out what is waiting. Returns text->error. */
int text_flush(struct text *text);

/* Frees the buffer without writing. */
void text_close(struct text *text);

/* Makes room for `size` bytes; behind text_reserve. */
void text_make_room(struct text *text, size_t size);

/* Afterwards `size` bytes may be stored at text->at. */
static inline void text_reserve(struct text *text, size_t size)
{
  if ((size_t)(text->end - text->at) < size) text_make_room(text, size);
}

static inline void text_raw(struct text *text, const char *data, size_t size)
{
  text_reserve(text, size);
  memcpy(text->at, data, size);
  text->at += size;
}

static inline void text_c(struct text *text, char c)
{
  text_reserve(text, 1);
  *text->at++ = c;
}

/* A literal or any other NUL-terminated text that is ours and needs no escapes. */
static inline void text_s(struct text *text, const char *s)
{
  text_raw(text, s, strlen(s));
}

/* Decimal. */
void text_u(struct text *text, uint64_t value);
/* Decimal, zeros in front up to `digits` (at most 20). */
void text_padded(struct text *text, uint64_t value, unsigned digits);
/* 0x and lower-case hexadecimal without leading zeros. */
void text_x(struct text *text, uint64_t value);
/* Bytes as lower-case hexadecimal, no prefix. */
void text_hex(struct text *text, const uint8_t *bytes, size_t size);

/* Length of the valid UTF-8 character at `bytes`, its number in *code; 0 when there is none (cut short, overlong, a
 * surrogate, beyond U+10FFFF). */
size_t text_character(const uint8_t *bytes, size_t size, uint32_t *code);

/* Would it move the cursor, reverse what stands beside it, break the line, or not be seen at all? */
bool text_is_harmful(uint32_t code);

/* Outside text, made harmless for a terminal and unambiguous: control characters (C1 too), characters that change the
 * direction of text or break lines, bytes that are not UTF-8, the backslash and each of `also` come out as \n \t \r \\
 * \xHH or \u{H}. Everything else stays. No quotes are added. */
void text_escaped(struct text *text, const void *bytes, size_t size, const char *also);

/* The same in double quotes. */
void text_quoted(struct text *text, const void *bytes, size_t size);

/* text_stream.c, for what is printed with stdio: outside text, escaped; the same in XML; and in XML what needs no escapes. */
void text_to_stream(FILE *to, const char *s);
void text_to_xml(FILE *to, const char *s);
void text_xml_size(FILE *to, const char *s, size_t size);

#endif
