/* Traces as a sequence of events: what every verb of the decoder reads.
 *
 * A trace_set is one or more TRACE arguments (files, directories, "-"); its processes' records are merged in order of
 * number within a process and of time between processes, with at most one frame per slot in memory. */
#ifndef READ_TRACE_H
#define READ_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/spec/spec.h"
#include "shim/trace/format.h"
#include "shim/trace/sealing.h"

/* A decoded value: a tree, in memory that belongs to the event and is gone with it. */
enum value_what {
  VALUE_NONE,    /* the record says nothing of it */
  VALUE_NUMBER,  /* number */
  VALUE_POINTER, /* pointer only */
  VALUE_BYTES, /* pointer, form, length, bytes/kept, number = tag, shape; of form SEALED bytes/kept as they lie in the file,
                      and `sealed`, NULL when they are not what is known of */
  VALUE_VERSION,   /* pointer, number = major * 256 + minor */
  VALUE_TEMPLATE,  /* pointer, item[count] of ATTRIBUTE */
  VALUE_ATTRIBUTE, /* number = type, pointer of pValue, length = ulValueLen, item[0] the value (BYTES, NUMBER, ...) */
  VALUE_MECHANISM, /* pointer, number = mechanism; item[0] pointer and length of the parameter and, if structure is 0,
                      its BYTES; else item[0] is a STRUCT */
  VALUE_STRUCT,    /* pointer, structure, item[count] the members that were recorded, in order; member i is described by
                      member[i] */
  VALUE_LIST,      /* pointer, item[count] */
  VALUE_INTERFACE, /* bytes/kept = name, number = version, length = flags */
  VALUE_INIT_ARGS  /* pointer, number = flags, length = callbacks bits, shape = enum p11t_reserved, item[0] = V */
};

/* What is known of a sealed value without its key. */
struct value_sealed {
  uint64_t record;    /* number of the record that it stands in */
  uint32_t place;     /* among the sealed ones of the record */
  uint8_t class;      /* enum p11t_seal_class */
  const uint8_t *box; /* crypto_secretbox of `kept` bytes, its authenticator behind them */
  size_t kept;        /* bytes of the value that are in it; less than its length: cut when recorded */
};

struct value {
  uint8_t what;    /* enum value_what */
  uint8_t pointer; /* P class of the pointer that led here */
  uint8_t form;    /* enum p11t_form of BYTES, NUMBER (P11T_V_NUMBER, P11T_V_BOOL or 0) */
  uint8_t shape;   /* enum p11t_shape */
  uint16_t structure;
  uint16_t member; /* index of this value in p11_struct_info(structure of the parent)->field, in a STRUCT */
  uint64_t number;
  uint64_t length; /* true length in bytes; UINT64_MAX is CK_UNAVAILABLE_INFORMATION */
  const uint8_t *bytes;
  size_t kept;
  size_t count;
  union {
    struct value *item;                /* count of them */
    const struct value_sealed *sealed; /* of form SEALED, where count is 0 */
  };
};

/* Has the value a tag, and a shape, by which it can be compared with others? */
static inline bool value_is_tagged(const struct value *v)
{
  return v->what == VALUE_BYTES && (v->form == P11T_V_TAG || (v->form == P11T_V_SEALED && v->sealed != NULL));
}

/* One parameter as it was before and after the call. By kind (enum p11_kind):
 *   1-9                  in NUMBER
 *   POINTER              in POINTER
 *   STRING               in BYTES; a NULL pointer has form P11T_V_NULL
 *   CHARS, IN_BYTES, PIN, MESSAGE_PARAM   in POINTER at EVENT_ENTER; at EVENT_CALL in is the BYTES (which the recorder reads
 *                        after the call, and only when the module read them too), out is NONE. Where the pointer is shared
 *                        with an output (class 16 and more) in is BYTES from the start, and out what is there afterwards
 *   VERSION              in VERSION
 *   TEMPLATE             in TEMPLATE; values that were deferred are put into it at EVENT_CALL. out NONE
 *   MECHANISM            in MECHANISM; out STRUCT (members that the module wrote) or NONE
 *   INIT_ARGS            in INIT_ARGS
 *   OUT_BYTES, OUT_BYTES_OF   in POINTER, out BYTES
 *   OUT_LENGTH           in and out NUMBER (in POINTER, out NONE when NULL)
 *   23-27                in POINTER, out NUMBER or NONE
 *   28-30                in POINTER, out LIST of NUMBER
 *   OUT_TEMPLATE         in TEMPLATE of ATTRIBUTEs without value (count 0), out TEMPLATE with type, pointer, length after
 *   OUT_STRUCT           in POINTER, out STRUCT or NONE
 *   OUT_FUNCTION_LIST    in POINTER, out VERSION or NONE
 *   OUT_INTERFACE(S)     in POINTER, out INTERFACE or NONE (LIST of INTERFACE)
 *   unknown kinds        BYTES in both
 * Whatever came through a pointer has the class of the pointer in `pointer`, in `out` too; NULL: P11T_P_NULL, no items. */
struct argument {
  struct value in, out;
};

enum call_state {
  CALL_DONE,      /* ENTER and LEAVE are there */
  CALL_OPEN,      /* in flight when the trace ended */
  CALL_ABANDONED, /* unwound by an exception, longjmp or cancellation: a later call of the thread shows it */
  CALL_HEADLESS   /* LEAVE without ENTER (lost, or the trace begins later) */
};

struct call {
  uint64_t number;       /* of ENTER: the name of the call, printed as #number; 0 when headless */
  uint64_t end_number;   /* of LEAVE, 0 when none */
  uint64_t start, end;   /* ns, CLOCK_MONOTONIC of the traced machine; end 0 when none */
  uint64_t rv;           /* CK_RV, when state is DONE or HEADLESS */
  uint64_t caller;       /* return address, 0 unknown */
  const uint64_t *stack; /* depth addresses, caller first */
  unsigned depth;
  bool stale; /* the recorder says that the stack may not be that of this call */
  uint32_t tid;
  const char *thread;                   /* name, "" unknown */
  uint16_t module;                      /* id */
  uint16_t function;                    /* index in the trace's own schema; see info */
  const struct p11_function_info *info; /* from the trace's schema, mapped on ours where the name is known */
  int known;                            /* our number (enum p11_function) of that name, or -1 */
  uint8_t flags;                        /* enum p11t_flag, of both records */
  enum call_state state;
  struct argument arg[10];
};

/* Made by the recorder (probe=), not by the application: both EVENT_ENTER and EVENT_CALL of it say so. What counts against the
 * application, its figures and its replay leave such calls out. */
static inline bool call_is_probe(const struct call *call)
{
  return (call->flags & P11T_PROBE) != 0;
}

struct module {
  uint16_t id;
  const char *path, *build_id, *stub;
  uint64_t base;
  uint8_t how; /* enum p11t_how */
};

enum event_type {
  EVENT_ENTER,  /* a call begins: `call`, outputs empty, state OPEN */
  EVENT_CALL,   /* a call is over: `call`, complete */
  EVENT_MODULE, /* module attached */
  EVENT_UNLOAD,
  EVENT_LIST,   /* function list or interface handed out */
  EVENT_MARKER, /* GAP SUSPEND DEVICE MARK PROCESS ...: record */
  EVENT_END     /* the process's trace is over; open calls were delivered as EVENT_CALL with state OPEN before it */
};

struct process;

struct event {
  enum event_type type;
  uint64_t number, time; /* of the record that made it; ns */
  struct process *process;
  const struct call *call;     /* ENTER, CALL */
  const struct module *module; /* MODULE, UNLOAD, LIST */
  struct {
    const char *name;
    uint16_t version;
    uint64_t flags;
    unsigned count;
    const uint8_t *nulls;
    size_t null_bytes;
  } list;
  struct {
    uint8_t kind;
    const uint8_t *body;
    size_t length;
  } marker;
};

enum verdict { VERDICT_RECORDING, VERDICT_COMPLETE, VERDICT_ENDED, VERDICT_DIED, VERDICT_UNKNOWN };

/* What HEAD, END and the live file say of one process. Texts are NUL-terminated copies. */
struct process {
  unsigned index; /* in the set, from 0 */
  const char *path, *live_path;
  uint8_t trace_id[16], parent_id[16];
  uint32_t parent_pid, pid, argc, file_index;
  const char *executable, *program, *cmdline, *capture, *options, *recorder, *derived, *machine;
  uint8_t boot_id[16];
  uint64_t pid_ns, time_ns, start_time;
  uint64_t complete_from; /* all numbers from here on are there; 1: all */
  uint64_t missing; /* numbers between files that are not in any of them: dumps of a flight recorder, a file removed */
  uint32_t files;   /* that are there; 1 if the process wrote only one */
  uint8_t clock, word_bits, byte_order; /* order of the traced machine: 0 little-endian */
  uint64_t ticks_per_second;
  struct p11t_clock_pair first, last; /* first and last known */
  uint64_t compat;
  bool has_seal; /* values may be sealed: to which public key, and the key of this process's sealed to that */
  uint8_t seal_public[P11T_SEAL_KEY], seal_box[P11T_SEAL_BOX];
  bool has_end, has_live, locked;
  enum verdict verdict;     /* known from the start except DIED/ENDED, which are known after reading to the end */
  const char *ended_inside; /* "C_Sign" when DIED */
  uint64_t records, calls, dropped, cut, passed; /* totals; calls and records are complete after reading */
  uint64_t damaged_bytes;                        /* bytes of the file that could not be used */
  char damage[256];                              /* first damage in words: what, where (offset) */
  const char *end_reason;     /* END's: exit, full, dump, recovered, snapshot; NULL when there is none */
  const char *trigger;        /* why a flight recorder's records were written; NULL none */
  uint64_t bytes, live_bytes; /* sizes of its files */
  uint64_t frames;            /* data frames of records */
  uint64_t last_number;       /* largest seen so far */
  uint32_t exit_code;         /* noted by a wrapped _exit; with bit 31 set it is valid */
  bool losing;                /* the disk was full when the process was last seen */
  const char *symbols_path;   /* where the names of its addresses lie, if they were looked up */
  const char *symbols;        /* what lies there, where the file is in a packed one */
  size_t symbols_size;
  int signal; /* that ended it, where someone saw it (p11trace run); 0 not known */
  void *user; /* for whoever reads */
};

/* A function list or interface that a module handed out. */
struct trace_list {
  const char *name; /* "" from C_GetFunctionList */
  uint16_t version; /* major * 256 + minor */
  uint64_t flags;
  unsigned count; /* functions in its layout; 0: layout unknown, passed through unrecorded */
  unsigned null_count;
  const uint8_t *nulls; /* bit i % 8 of byte i / 8: function i is NULL */
  size_t null_bytes;
};

struct trace_set;

/* Opens what `paths` name: files, directories (every *.p11t in them and every *.p11t.live that has none), "-" (spooled to
 * an unlinked temporary file). NULL on error, with a line on stderr that says what, where and what to do. A damaged file is
 * opened and read up to (and after) the damage. */
struct trace_set *trace_open(const char *const *paths, size_t count);

/* For who opens "-" more than once: keeps standard input in an unlinked temporary file and puts that in its place, at the
 * beginning; call before each trace_open. False on error, with a line on stderr. */
bool trace_again(const char *const *paths, size_t count);

/* Next event in order, or 1 at the end, or 0 when `event` is filled. Everything in it lives until the next call. */
int trace_next(struct trace_set *set, struct event *event);

/* Processes of the set, in the order of their start. */
size_t trace_processes(const struct trace_set *set, struct process *const **list);

/* Path of the process's file number `at`, from 0; NULL when it has no more. */
const char *trace_file_path(const struct process *process, size_t at);

/* Module of the process by id, NULL when unknown. */
const struct module *trace_module(const struct process *process, unsigned id);

/* Ids of the modules that are known so far, at most `room` into `ids`; returns how many there are. */
size_t trace_modules(const struct process *process, uint16_t *ids, size_t room);

/* Lists that the module handed out so far. */
size_t trace_lists(const struct process *process, unsigned id, const struct trace_list **list);

/* Description of structure `number`: ours, or the one that the trace brings with it; NULL when there is none. */
const struct p11_struct *trace_struct(const struct process *process, unsigned number);

/* A file that was mapped into the process. Lives as long as the set. */
struct trace_object {
  const char *path, *name; /* name: behind the last slash */
  const char *build_id;    /* hexadecimal digits, "" none */
  uint64_t address, size;  /* what link-time addresses are relative to */
  struct trace_object *next;
};

/* The file that a return address of the event just delivered belongs to; NULL when no OBJECT record covers it. */
const struct trace_object *trace_object(const struct process *process, uint64_t address);

/* Text for an address: "libnss3.so+0x1f2a0", into `text`; "0x..." when no OBJECT record covers it. */
void trace_address(const struct process *process, uint64_t address, char *text, size_t size);

/* True when bytes were lost or damaged anywhere (exit status 2 after showing what could be read). */
bool trace_damaged(const struct trace_set *set);

void trace_close(struct trace_set *set);

#endif
