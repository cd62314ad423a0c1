/* The live file: the ring in which records lie until their frame is written, and after the process is gone. */
#ifndef RECORD_LIVE_H
#define RECORD_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Creates the live file beside the trace, or where a full disk cannot hurt (decisions on file systems are in live.c),
 * takes its lock and maps its head. `empty`: without its first slots yet. `path` gets its path when it does not lie beside
 * the trace, else "". */
void p11t_live_place(char path[], size_t size, bool empty);

/* Maps the first slots. Without any place, memory takes its part and every record is written at once. False only when memory
 * is out. */
bool p11t_live_fill(void);

/* Copies HEAD's content into the head and makes the file valid: the magic is stored last. */
void p11t_live_publish(const uint8_t *head, size_t size);

#endif
