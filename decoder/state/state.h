/* Login and session life lines: per slot what was called, what the module said and when, who called, and the moment where
 * the module's answer and what the calls before it allow part.
 *
 *   lines.c   calls to lines, polls folded together
 *   print.c   as text and JSON */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "decoder/model/model.h"
#include "decoder/symbols/symbols.h"

enum line_kind {
  LINE_SESSIONS, /* sessions opened and closed, folded */
  LINE_STATE,    /* C_GetSessionInfo, the same answers folded */
  LINE_LOGIN,    /* C_Login, C_LoginUser: a prompt */
  LINE_LOGOUT,
  LINE_PIN,   /* C_SetPIN, C_InitPIN, C_InitToken */
  LINE_GONE,  /* the token is not there any more */
  LINE_BACK,  /* it is there again */
  LINE_CLOSE, /* C_CloseAllSessions, C_Finalize, the last session closed */
  LINE_DEAD   /* a session handle that was good is refused */
};

struct line {
  enum line_kind kind;
  uint8_t idiom;           /* of the first */
  bool parts;              /* the answer and what the calls before it allow part here */
  unsigned seen, possible; /* LINE_STATE: LOGIN_* */
  uint64_t state;          /* CKS_* */
  uint64_t first, last;    /* ns since the origin of times */
  uint64_t number, count;  /* of the first call; how many are folded */
  uint64_t session, rv;    /* handle of the first */
  uint64_t opened, closed; /* LINE_SESSIONS */
  uint64_t user;           /* LINE_LOGIN: CKU_* */
  unsigned prompt;         /* LINE_LOGIN: which one of the slot, from 1; 0: no prompt (SO, or the PIN was not asked) */
  uint32_t tid;
  int16_t function;
  uint8_t by_calls; /* set of LOGIN_*: what the calls leave afterwards, whatever the module says */
  char thread[17], caller[80];
};

/* The life of one slot in one process. */
struct life {
  struct process *process;
  char module[256];
  uint64_t slot;
  char token[33], serial[17];
  struct line *line;
  size_t lines, room;
  unsigned prompts, parts;
};

struct states {
  struct life **life;
  size_t count, room;
  uint64_t origin;
  struct symbols *symbols; /* for the names of callers; NULL: file and offset */
  /* For who wants the calls too: each finished one with its place, before the model takes it in. NULL: nobody. */
  void (*call)(void *user, const struct event *event, const struct model_place *place);
  void *user;
};

/* Takes one event of trace_next() in. */
void states_event(struct states *states, const struct event *event);
void states_free(struct states *states);
/* The life of a slot, made when it was not there: its place in states->life. */
struct life *states_life(struct states *states, struct model_slot *slot);

void states_print(FILE *to, const struct states *states);
bool states_json(FILE *to, const struct states *states);

#endif
