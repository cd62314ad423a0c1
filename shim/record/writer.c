#include "shim/record/writer.h"

void p11t_writer_more(struct p11t_writer *w)
{
  struct p11t_thread *t = w->thread;
  uint32_t kept = w->kept, sealed = w->sealed;
  if (w->head.time == 0) w->head.time = p11t_ticks(); /* an ENTER's is read last, and its first piece goes now */
  struct p11t_raw head = w->head;
  p11t_commit_piece(w);
  p11t_begin(w, t, head.kind, head.number, head.time);
  head.flags &= (uint8_t)~P11T_FIRST;
  head.stack = 0; /* an index counts only in the fill of the first piece */
  w->head = head;
  w->kept = kept;
  w->sealed = sealed; /* the record goes on: its nonces too */
}
