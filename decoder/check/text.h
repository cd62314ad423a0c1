/* Texts that modules give: valid or not. */
#ifndef CHECK_TEXT_H
#define CHECK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_fault { TEXT_GOOD, TEXT_NUL, TEXT_CONTROL, TEXT_NOT_UTF8 };
/* First thing in the text that is no character; *where is its offset. */
enum text_fault text_check(const uint8_t *bytes, size_t length, size_t *where);
/* "a NUL at byte 7": for a sentence. */
const char *text_fault_name(enum text_fault fault);

#endif
