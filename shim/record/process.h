/* The recorder's state in one process: files, threads' slots, totals. Changed only under p11t_lock(), read freely. */
#ifndef RECORD_PROCESS_H
#define RECORD_PROCESS_H

#include <limits.h> /* PATH_MAX */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/record/output.h"
#include "shim/trace/format.h"

/* What a thread that records owns: a slot of the live file and where it is in it. */
struct p11t_thread {
  uint64_t epoch;      /* of p11t_guard at the time this was set up */
  void *busy;          /* frame address of the wrapper whose record is being written; NULL between records */
  uint8_t *p;          /* where the next record goes */
  uint8_t *end;        /* end of the slot */
  uint8_t *base;       /* the slot */
  uint64_t pair_ticks; /* time of the last TIME record */
  uint32_t fill;       /* counts fills of this slot by any thread */
  uint32_t tid;
  uint64_t last_caller; /* address of the STACK record before in this fill */
  uint16_t slot;
  uint16_t stacks; /* STACK records in this fill */
  bool owned;
  uint8_t clock;                 /* of the last TIME record in this slot; 0: HEAD's */
  uint8_t fill_clock;            /* the same, when this fill began */
  uint64_t left;                 /* number given out last when the thread that had this ended */
  uint32_t first_tid;            /* the thread that had this when the fill began */
  char name[17], first_name[17]; /* of the two threads */
  bool careful;              /* files were replaced: a caller's is looked at before each call (p11t_objects_replaced) */
  int16_t checked;           /* file of a caller that was in place ... */
  uint64_t checked_at;       /* ... at this time */
  const void *within;        /* frame of the probe that the thread is in, NULL none */
  struct p11t_stacks *stack; /* what the thread knows of stacks (stack.c); NULL: nothing. Outlives the slot's owners. */
  struct {
    uint64_t address;
    uint32_t fill;
    uint16_t index;
    int16_t object; /* place in the table of files; -1: of none, or of one that stays */
  } caller[64];     /* STACK records of this fill, by address */
};

enum p11t_phase {
  P11T_IDLE, /* nothing recorded yet: no file */
  P11T_RUNNING,
  P11T_OFF /* could not start, or ended: everything passes through */
};

struct p11t_process {
  enum p11t_phase phase;
  uint64_t instance; /* 1, and 1 more in each fork's child */
  uint32_t pid;
  uint8_t trace_id[16], parent_id[16];
  uint32_t parent_pid;          /* 0: not a fork's child of a traced process */
  struct p11t_clock_pair first; /* when the recorder was loaded */
  uint64_t ticks_per_second;
  struct p11t_output trace, live;
  struct p11t_live_head *head; /* mapped head of the live file, or an anonymous page */
  bool write_through;          /* no live file: each record is written at once */
  uint8_t aside;               /* enum p11t_aside: what else is to be done at the end of a record */
  uint64_t end;                /* of the last whole frame in the trace */
  uint64_t frames, records;    /* data frames of this file; records of all */
  _Atomic uint64_t pair_ticks; /* time of the latest reading of all clocks that the trace has */
  bool head_counter;           /* HEAD's clock is the counter */
  uint64_t retry_at;           /* monotonic ns: not before is a failed write tried again */
  uint32_t exit_code;          /* bit 31: the process said that it ends with the status below it */
  uint32_t slots;
  struct p11t_thread *thread; /* P11T_MAX_SLOTS of them, by slot */
  uint32_t places;            /* slots of the live file; more than `slots` in a flight recorder */
  uint8_t *place[P11T_MAX_SLOTS];
};

enum p11t_aside { P11T_ASIDE_THROUGH = 1, P11T_ASIDE_TRIGGER = 2 };

extern struct p11t_process p11t_process;
extern _Atomic uint64_t p11t_number;  /* last number given out */
extern _Atomic uint64_t p11t_dropped; /* records lost */
extern _Atomic uint64_t p11t_passed;  /* calls passed through unrecorded: nested in a record, no slot */
extern _Atomic uint64_t p11t_cut;     /* values cut */

/* State of the calling thread, or NULL. Initial-exec: usable from the first instruction of a call on, no allocation. */
extern __thread struct p11t_thread *p11t_self __attribute__((tls_model("initial-exec")));

/* The slow way into a record: first call of a process or thread, fork's child, changed clock. Returns the thread's state
 * ready for a record, or NULL when this call passes through unrecorded. */
struct p11t_thread *p11t_thread_enter(void);

/* Compression: while the host waits for a full slot; and for what is written once. */
#define P11T_LEVEL_FULL 1
#define P11T_LEVEL_ONCE 12

/* Ticks after which a thread writes another reading of all clocks: suspend, migration and drift show in them. */
#define P11T_TIME_EVERY (1ull << 28)

/* Keeps the name of the thread that forked: later it cannot be asked for (p11t_reserve). */
void p11t_thread_reserve(void);
/* Writes a THREAD record: the records that follow are this thread's. */
void p11t_thread_name(struct p11t_thread *t);

/* Writes a TIME record: a reading of all clocks, from which ticks become time. */
void p11t_thread_time(struct p11t_thread *t);

/* Empties the thread's slot into the trace. Never fails: what cannot be written is dropped and counted. Keeps errno. */
void p11t_flush(struct p11t_thread *t);
/* The same inside a record, whose time has been read: the clock stays what it is. */
void p11t_flush_within(struct p11t_thread *t);

/* The same under the lock, with signals left alone. */
void p11t_flush_locked(struct p11t_thread *t, int level);

/* Under the lock: writes one frame of the trace. False when it could not be written. */
bool p11t_write_frame(uint8_t kind, const struct p11t_info *info, const uint8_t *content, size_t size, int level);

/* What the recorder's constructor does, for whoever needs it earlier: another library's constructor may look for a module
 * before ours has run. argc 0: not known yet. */
void p11t_process_load(int argc);

/* In a fork's child: opens its two files, empty, and notes what /proc says, because a sandbox may forbid both before the
 * first call (decisions.md D13). What the process does later is then confined to write, lseek, ftruncate, fstat, mmap,
 * madvise and getrandom. */
void p11t_reserve(void);

/* The process is about to end, with this status: for END, or for the live file's head where no END will be written. */
void p11t_ends_with(int status);
/* Says once that records are being lost, and why; nothing is tried again for a second. */
void p11t_losing(const char *why);

/* Begins the file that p11t_process.trace is: HEAD, as it was at the start of the process but for what the arguments say,
 * and SCHEMA. Under the lock. 0 or a negative errno. */
long p11t_begin_file(uint64_t complete_from, uint32_t index);

/* The last frame of a file, with the trigger of a dump or NULL, and what comes behind it. */
bool p11t_write_end(const char *reason, const char *trigger);
bool p11t_write_seek_table(void);

/* Starts the files. Under the lock. False: phase is P11T_OFF and a line was said. */
bool p11t_start(void);

/* Ends recording: flushes all slots, writes END and the seek table, removes the live file. */
void p11t_finish(const char *reason);

/* Maps one more slot at the end of the live file and makes it a thread's. Under the lock. */
bool p11t_slot_grow(void);

/* Maps one more slot at the end of the live file; NULL when there is no room. Under the lock. */
uint8_t *p11t_place_grow(void);

/* Gives a mapped slot to a thread's records: first they are gone, then it says whose the next ones are. */
void p11t_place_begin(struct p11t_thread *t, uint8_t *base, uint32_t generation);

/* One mapping for everything that needs memory while writing: no malloc in the host. */
struct p11t_scratch {
  uint8_t *columns; /* P11T_SLOT_SIZE * 2: work space of the frame builder */
  uint8_t *content; /* P11T_CONTENT_MAX */
  uint8_t *packed;  /* packed_size */
  uint8_t *spare;   /* P11T_SLOT_SIZE: records that are no thread's slot */
  size_t packed_size;
  void *zstd; /* ZSTD_CCtx in static memory */
};
#define P11T_CONTENT_MAX (2 * P11T_SLOT_SIZE)
extern struct p11t_scratch p11t_scratch;
bool p11t_scratch_make(void);

#endif
