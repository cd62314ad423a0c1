/* The files that are mapped into the process, so that the decoder can say where an address belongs.
 *
 * They are looked up one by one as addresses come up, with _dl_find_object (glibc 2.35): no lock, not the loader's either, no
 * allocation, a few nanoseconds. Every thread remembers those that it met, and what each looked like: a file that was
 * unloaded and another one mapped in its place differ. */
#ifndef RECORD_OBJECTS_H
#define RECORD_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

struct p11t_thread;

#define P11T_OBJECTS 64

struct p11t_object {
  uint64_t start, end;  /* mapped here; end 0: a free place */
  uint64_t base;        /* what link-time addresses are relative to */
  uint64_t index;       /* its .eh_frame_hdr, 0 none */
  const void *map;      /* the loader's struct link_map */
  uint64_t said;        /* p11t_objects_epoch in which the trace was told of it */
  uint64_t checked;     /* walk in which it was last found in place */
  uint32_t caller_fill; /* fill in which it had the caller of a stack of one frame */
  bool stays;           /* it cannot be unloaded: the program itself */
  uint16_t id_at;       /* offset of its build-id from start */
  uint8_t id_size;      /* 0: none */
  uint8_t id[20];
  uint8_t head[64]; /* its ELF header */
};

/* Where files lay that a thread does not know any more; end 0: nowhere. */
struct p11t_gone {
  uint64_t start, end;
};

/* What a thread remembers. Places are taken in turn. */
struct p11t_object_table {
  struct p11t_object object[P11T_OBJECTS];
  unsigned next;
};

/* Goes up when a file turns out to be mapped where the trace says that another is: whatever was said before has to be said
 * again before it is used. */
extern _Atomic uint64_t p11t_objects_epoch;

/* A file was replaced, or forgotten, in this process: from then on callers are looked at before they are named again. */
extern _Atomic bool p11t_objects_replaced;

/* Whether files can be looked up in this process; without it stacks are of one frame and nobody knows its file. */
bool p11t_objects_known(void);

/* Place in the thread's table of the file that holds `address`, -1 when it is of none (a JIT's code). What the table had
 * there before, and does not have any more, widens `gone`. */
int p11t_object_find(struct p11t_object_table *table, uint64_t address, struct p11t_gone *gone);

/* Whether the file is still the one that is mapped there. */
bool p11t_object_in_place(const struct p11t_object *o);

/* The same, and what the trace was told of that place since has not been anything else. Under the lock. */
bool p11t_object_holds(const struct p11t_object *o);

/* Writes the OBJECT record of the file, unless the trace was told. Takes the recorder's lock when it was not told since the
 * epoch began. */
void p11t_object_say(struct p11t_thread *t, struct p11t_object *o);

/* What was said is in a file that may go, or in the parent's: it is said again when it is next needed. Under the lock. */
void p11t_objects_forget(void);

/* A target was loaded, inside its host's dlopen. */
void p11t_objects_refresh(void);

#endif
