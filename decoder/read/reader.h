/* What the files of this folder share: one process's trace being read. Verbs use trace.h only.
 *
 *   set.c    arguments to processes, order between processes
 *   packed.c a packed case: many files in one
 *   files.c  the files of one process: which there are, and what is missing between them
 *   file.c   one file: HEAD, hop over FRAME-INFOs, go on after damage
 *   live.c   the live file: head, slots, is the owner there?
 *   head.c   HEAD's and END's fields; schema.c the SCHEMA frame
 *   tail.c   a process that is still recording, as it goes on; tail_feed.c its slots and frames
 *   frame.c  one frame (or slot of the live file) to records
 *   merge.c  the slots' records in order of number
 *   calls.c  ENTER and LEAVE to calls; value.c, member.c parameters to values
 *   tables.c modules, function lists, addresses; clock.c ticks to ns; verdict.c how it ended */
#ifndef READ_READER_H
#define READ_READER_H

#include <stdarg.h>

#include "decoder/read/arena.h"
#include "decoder/read/cursor.h"
#include "decoder/read/trace.h"

/* Bounds on what a file may ask for. The writer stays far below each; beyond is damage, not memory. */
enum {
  MAX_CONTENT = 1 << 20, /* bytes of a frame decompressed */
  MAX_PACKED = MAX_CONTENT + 8192,
  MAX_CHAIN = 16 << 20, /* bytes of a record in pieces */
  MAX_VALUES = 400000,  /* values of one record */
  MAX_NESTING = 12,     /* structures and templates inside each other */
  MAX_OPEN = 4096,      /* calls in flight in a process */
  MAX_PARAMS = 10,
  MAX_TABLE = 65536,   /* modules */
  MAX_OBJECTS = 16384, /* mapped files of a process */
  STACK_STALE = 1,     /* flag of a STACK record */
  INFO_SIZE = 64,
  SKIP_HEAD = 8, /* magic and length of a skippable frame */
  FRAME_INFO = SKIP_HEAD + INFO_SIZE,
  FILE_LIVE = 0xffff, /* frame_ref.file: a slot of the live file */
  FILE_FED = 0xfffe   /* a part of one, copied while the process goes on */
};

/* A frame that can be read: 80 bytes, all that is kept of one. */
struct frame_ref {
  uint64_t offset;  /* of the zstd frame in its file; FILE_LIVE: of the first record in reader.live_bytes */
  uint8_t *bytes;   /* FILE_FED: the records, freed with the next frame */
  uint64_t arrived; /* when it was seen, of a process that is followed; our own CLOCK_MONOTONIC */
  uint64_t first_number, last_number, first_time;
  uint32_t packed, content; /* bytes; FILE_LIVE: content is the bytes of records */
  uint32_t tid, generation, records;
  uint16_t slot, file;
  uint8_t kind, clock;
  uint32_t skip; /* records at its beginning that were read when they were not a frame yet */
};

struct trace_file {
  int fd;
  char *path;
  uint64_t size, head_end, whole_end; /* bytes; end of HEAD (0: it has none), of the last whole frame */
  uint32_t index, added;              /* HEAD's, from 1; place before they were put in order */
  uint64_t complete_from;
  bool has_end;
  const char *end_reason; /* END's, NULL none */
};

struct record {
  uint8_t kind, flags;
  uint16_t module;
  uint32_t function, stack;
  uint64_t number, time, aux; /* time in ticks; aux: stack pointer, number of ENTER */
  const uint8_t *body;
  size_t length;
};

/* Records of one frame, one after another. */
struct source {
  uint8_t *content; /* NULL: none open */
  uint8_t *fed;     /* of FILE_FED */
  size_t capacity;
  bool raw; /* slot of the live file: records as they are; else columns */
  struct cursor h, a, t, b;
  uint64_t number, sp, time;
  uint32_t records;
  const struct frame_ref *frame;
};

/* Whose a slot was when a fill of it began, from TABLES: the record that said so may be in a file that is gone. */
struct owner {
  uint64_t slot, generation;
  uint32_t tid;
  const char *name;
};

struct stack_entry {
  uint32_t offset, depth; /* in slot.address */
  bool stale;
};

/* What is known of a slot while its frames are read one after another. */
struct slot {
  const struct frame_ref *frame; /* its frames in order of generation */
  uint32_t frames, next;
  struct source source;
  enum { SLOT_CLOSED, SLOT_READY, SLOT_DONE } state; /* CLOSED: `key` is what the next frame's header says */
  uint64_t key, key_time;                            /* number and ticks of the next record */
  uint32_t generation;                               /* of the frame that was opened last */
  uint64_t arrived;                                  /* of that frame */
  struct record record; /* READY: the next one; its body lives until the slot is advanced */
  struct record held;   /* a record that came where a piece was expected */
  bool has_held;
  uint8_t *join; /* pieces so far */
  size_t joined, join_room;
  struct record chain; /* the record that they belong to */
  bool in_chain, chain_cut, chain_headless, from_chain;
  uint64_t *chain_stack;
  uint32_t chain_depth;
  bool chain_stale;
  uint32_t tid;
  char thread[64];
  uint8_t clock;
  struct p11t_clock_pair base; /* the latest pair of this slot's clock */
  bool has_base;
  uint64_t latest;           /* ns that its records have come to: time does not go back in a slot */
  struct stack_entry *stack; /* of this fill, by index */
  size_t stacks;
  uint64_t *address;
  size_t addresses, address_room;
  struct trace_object *object, *last_object; /* told of by records before the next one, which is not delivered yet */
};

/* A call in flight, or one that is being delivered. */
struct open_call {
  struct call call;
  struct arena arena;
  uint64_t sp;
  uint32_t slot;
  struct open_call *next_number, *next_thread; /* in the two hash tables */
  struct open_call *next_queued;
  uint64_t event_number, event_time;
};

enum { OPEN_BUCKETS = 1024 };

struct module_entry {
  struct module pub;
  bool known, unloaded;
  struct trace_list *list;
  size_t lists;
};

struct reader {
  struct process p; /* first: a process is a reader for us */
  struct trace_set *set;
  struct arena texts;
  struct trace_file *file;
  size_t files;
  struct frame_ref *frame;
  size_t frames, frame_room;

  int live_fd;
  uint8_t *live_bytes; /* records of the slots, copied */
  size_t live_size;
  struct p11t_live_head live_head;
  bool live_state_known;

  struct p11_function_info *function; /* the schema */
  size_t functions;
  int16_t *known;               /* our number of each, or -1 */
  struct p11_struct *structure; /* additional structures, by number - ours */
  uint16_t *structure_number;
  size_t structures;
  bool has_schema;

  uint64_t tick_rate, head_rate; /* ns per tick, fixed point with 32 bits behind; as HEAD has it, 0 unknown */
  uint64_t rate_span;            /* ns that tick_rate was measured over; 0: it is HEAD's */
  struct p11t_clock_pair recent; /* the latest pair of the counter, of any slot */
  unsigned pairs;
  uint64_t read_only; /* mask of HEAD: unknown bits forbid changing the file */
  uint8_t *head;      /* HEAD's content as it was read last */
  size_t head_size;

  struct slot *slot;
  size_t slots;
  uint32_t *heap; /* indices into slot, smallest key first */
  size_t heap_size;
  bool started, finished, end_delivered;
  bool followed, tailing; /* it was going on when it was opened, and does: its slots get more frames */
  uint64_t now;           /* for tailing */

  struct slot *advance; /* whose record was delivered by the last event */
  struct open_call *queue, *queue_tail;
  struct open_call *current; /* call of the last EVENT_CALL: freed with the next event */
  struct open_call *pending_enter;
  struct open_call *by_number[OPEN_BUCKETS], *by_thread[OPEN_BUCKETS];
  struct open_call *spare;
  size_t open;
  uint64_t last_time;
  uint64_t pieces; /* read so far, as FRAME-INFO counts */
  struct owner *owner;
  size_t owners;
  uint64_t end_records; /* END's count, 0 unknown */
  bool has_end_records;

  struct module_entry *module;
  size_t modules;
  struct trace_object **object; /* those that are mapped now, by address */
  size_t objects, object_room, objects_seen, objects_waiting;

  uint64_t merge_key;
  int64_t merge_shift; /* added to a time to compare it with another process's */
};

struct trace_set {
  struct reader **reader;
  size_t readers, reader_room;
  struct process **process;
  size_t *heap;
  size_t heap_size;
  struct reader *current; /* whose event was delivered last */
  bool begun, failed;
  void *zstd;      /* decompression context */
  uint8_t *packed; /* a frame as it lies in the file */
  size_t packed_room;
};

/* files.c: the trace that `path` belongs to, all its files and its live file as one. False: not readable (said). */
bool files_add(struct trace_set *set, const char *path);
/* Puts the files in order and sees what is missing between them; after all were added, before live_fold. */
void files_settle(struct reader *r);

/* packed.c: what p11trace pack writes; its traces join the set. False: said on stderr. */
bool packed_is(int fd);
bool packed_add(struct trace_set *set, int fd, const char *shown);

/* file.c: opens `path` (its HEAD goes to *head when there) and notes the frames in it. fd is taken over. 0; 1 when it is no
 * trace (said on stderr). */
int file_add(struct reader *r, const char *path, int fd, bool quiet);
/* The 72 bytes of a FRAME-INFO with its skippable head; false when they are not one. */
bool file_info(const uint8_t *bytes, struct frame_ref *ref);
/* Offset of the next FRAME-INFO at or after `from`, or the file's size. */
uint64_t file_resynchronise(const struct trace_file *file, uint64_t from);
/* Reads exactly `size` bytes at `offset`; false when they are not there. */
bool file_read(int fd, void *to, size_t size, uint64_t offset);
/* Orders the frames by slot and generation; drops those that are there twice. */
void file_sort(struct reader *r);
/* Notes bytes that cannot be used and, when it is the first, why. */
__attribute__((format(printf, 3, 4))) void reader_damage(struct reader *r, uint64_t bytes, const char *format, ...);

/* Goes on behind the last whole frame, up to offset `end`. */
void file_more(struct reader *r, unsigned number, uint64_t end);

/* set.c */
struct reader *reader_new(struct trace_set *set);
void reader_free(struct reader *r);
/* Trace id and path of the live file of a trace, without reading more of it than HEAD; zeros and "" when it has none. */
void head_peek(int fd, uint8_t id[16], char *live, size_t size);
/* The same, and the index of the file among those of the process. */
uint32_t head_peek_index(int fd, uint8_t id[16], char *live, size_t size);
void set_keep(struct trace_set *set, struct reader *r);
/* Standard input as a file that has no name; -1 when that cannot be (said). */
int set_spool(void);

/* live.c: reads head and slots of the live file `path`; false when it cannot be used. */
bool live_open(struct reader *r, const char *path, bool must);
/* Head of a live file, from its mapping, into r->live_head; false when it is none. */
bool live_parse_head(struct reader *r, const uint8_t *bytes, size_t size);
uint32_t live_load(const uint8_t *p);
/* Copies the committed records of a slot from offset `at`; true when all of it is as the format says. */
bool live_copy(const uint8_t *slot, uint32_t slot_size, uint32_t at, uint8_t *to, uint32_t *copied);
/* Drops the slots that the trace has as frames and adds the others as frames. */
void live_fold(struct reader *r);

/* head.c */
enum { HEAD_FINE, HEAD_FOREIGN, HEAD_NEWER };
int head_parse(struct reader *r, const uint8_t *bytes, size_t length, const char *path);
void end_parse(struct reader *r, const uint8_t *bytes, size_t length);
struct p11t_clock_pair get_pair(struct cursor *c);

/* schema.c */
bool schema_parse(struct reader *r, const uint8_t *bytes, size_t length);
void schema_own(struct reader *r); /* our table stands in */
const struct p11_struct *schema_struct(const struct reader *r, unsigned number);

/* frame.c: decompresses a frame into *to (grown as needed); false when it is damaged (noted). */
bool frame_load(struct reader *r, const struct frame_ref *frame, uint8_t **to, size_t *capacity);
bool source_open(struct reader *r, struct source *source, const struct frame_ref *frame);
/* Next piece, or false at the end of the frame. */
bool source_next(struct reader *r, struct source *source, struct record *record);
/* The next piece, if it is of this kind, without moving on. */
bool source_peek(struct reader *r, const struct source *source, uint8_t kind, struct record *record);
void source_close(struct source *source);

/* merge.c */
void merge_start(struct reader *r);
/* Slot with the smallest number, its record ready; NULL at the end. */
struct slot *merge_top(struct reader *r);
/* The slot got more frames, or no more are to come. */
void merge_feed(struct reader *r, struct slot *slot);
/* Moves the top slot to its next record. */
void merge_advance(struct reader *r);
/* Ticks that the process's next record has, without opening a frame; false at the end. */
bool merge_peek(const struct reader *r, uint64_t *ns);
/* Addresses of the stack of the slot's record; returns how many. */
uint32_t slot_stack(const struct slot *slot, const struct record *record, const uint64_t **address, bool *stale);
void merge_free(struct reader *r);

/* events.c: what the last event used goes, and the process's next record is found. */
void reader_settle(struct reader *r);
/* Whether the process has an event that may be handed out now, and its time; for tailing. */
bool reader_due(struct reader *r, uint64_t *ns);
/* Next event of the process; false after its END, and when none is due. */
bool reader_event(struct reader *r, struct event *event);

/* calls.c */
void call_enter(struct reader *r, struct slot *slot, const struct record *record);
void call_leave(struct reader *r, struct slot *slot, const struct record *record);
void call_thread(struct reader *r, struct slot *slot, uint32_t tid, const uint8_t *name, size_t length);
void call_finish(struct reader *r);
void call_release(struct reader *r, struct open_call *open);
void call_free_all(struct reader *r);

/* value.c: fills the arguments of `call`; false when the body does not hold what the schema says. */
bool value_enter(struct reader *r, struct open_call *open, struct cursor *body);
bool value_leave(struct reader *r, struct open_call *open, struct cursor *body);

/* Decoding of one body. */
struct decode {
  struct reader *reader;
  struct arena *arena;
  struct cursor c;
  uint64_t values;
  unsigned depth;
  uint64_t record; /* its number */
};
struct value *decode_items(struct decode *d, uint64_t count);
void decode_v(struct decode *d, struct value *value);
/* member.c */
void decode_attributes(struct decode *d, struct value *value);
void decode_mechanism(struct decode *d, struct value *value);
void decode_struct(struct decode *d, struct value *value, unsigned number, unsigned direction);

/* tables.c */
bool table_record(struct reader *r, const struct record *record, struct event *event);
void table_object(struct reader *r, struct slot *slot, const struct record *record);
/* What OBJECT records before the slot's record said holds from now on. */
void table_settle(struct reader *r, struct slot *slot);
void table_free(struct reader *r);

/* clock.c */
void clock_start(struct reader *r);
uint64_t clock_ns(const struct reader *r, const struct slot *slot, uint64_t ticks);
/* The same, but never before the times of the slot's records so far. */
uint64_t clock_time(const struct reader *r, const struct slot *slot, uint64_t ticks);
void clock_record(struct reader *r, struct slot *slot, const struct record *record);
/* The slot's next record is ready: takes the pair that was read for it, and written right after it. */
void clock_look_ahead(struct reader *r, struct slot *slot);

/* verdict.c */
bool verdict_locked(struct reader *r, int fd);
bool verdict_owner_lives(const struct process *p);
void verdict_early(struct reader *r);
void verdict_late(struct reader *r);

static inline struct reader *reader_of(const struct process *process)
{
  return (struct reader *)(uintptr_t)process;
}

#endif
