/* The trace format, version 1. Shared by the writer (shim/) and the reader (decoder/): the one header both may include.
 * The text is in FORMAT.md beside this file; where a number stands here it stands there. All integers on disk are
 * little-endian. Names: U, N, Z, P, V are the encodings that FORMAT.md defines. */
#ifndef P11T_FORMAT_H
#define P11T_FORMAT_H

#include <stdint.h>

#define P11T_MAJOR 1
#define P11T_MINOR 0

/* zstd's skippable frames that we use. */
#define P11T_SKIP_HEAD 0x184D2A50u
#define P11T_SKIP_INFO 0x184D2A51u
#define P11T_SKIP_SEEK 0x184D2A5Eu
#define P11T_SEEK_MAGIC 0x8F92EAB1u

#define P11T_HEAD_MAGIC "P11TRACE"  /* 8 bytes, no NUL */
#define P11T_LIVE_MAGIC "P11TLIVE"  /* 8 bytes, no NUL; stored last */
#define P11T_INFO_MAGIC 0x49463150u /* "P1FI" */
#define P11T_SLOT_MAGIC 0x4c533150u /* "P1SL" */

/* HEAD: magic, u16 major, u16 minor, u32 0, u64 incompatible, u64 read-only compatible, u64 compatible masks,
 * then fields (u16 tag, u16 length, bytes). */
#define P11T_HEAD_FIXED 40
/* Bits of the incompatible mask that this reader knows. */
#define P11T_INCOMPAT_KNOWN 0ull
/* Bits of the compatible mask. */
#define P11T_COMPAT_CLEAR 1ull   /* payload in clear is inside: every verb says so */
#define P11T_COMPAT_DERIVED 2ull /* made from another trace (trim, redact): numbers have holes */

enum p11t_head_tag {
  P11T_HEAD_TRACE_ID = 1,       /* 16 bytes */
  P11T_HEAD_PARENT_ID = 2,      /* 16 bytes: trace of the process that forked this one */
  P11T_HEAD_PARENT_PID = 3,     /* u32 */
  P11T_HEAD_EXECUTABLE = 4,     /* path */
  P11T_HEAD_PROGRAM = 5,        /* name */
  P11T_HEAD_ARGC = 6,           /* u32 */
  P11T_HEAD_CMDLINE = 7,        /* NUL-separated; only with cmdline=on */
  P11T_HEAD_BOOT_ID = 8,        /* 16 bytes */
  P11T_HEAD_PID_NS = 9,         /* u64 inode of the pid namespace */
  P11T_HEAD_PID = 10,           /* u32 */
  P11T_HEAD_START_TIME = 11,    /* u64 clock ticks since boot, /proc/self/stat field 22 */
  P11T_HEAD_ARCH = 12,          /* u8 bits of a CK_ULONG, u8 0 little 1 big, text machine */
  P11T_HEAD_CLOCK = 13,         /* u8 enum p11t_clock, u64 ticks per second */
  P11T_HEAD_CLOCK_PAIR = 14,    /* struct p11t_clock_pair; may come twice */
  P11T_HEAD_TIME_NS = 16,       /* u64 inode of the time namespace */
  P11T_HEAD_CAPTURE = 17,       /* text: meta safe full clear */
  P11T_HEAD_OPTIONS = 18,       /* text: lines name=value */
  P11T_HEAD_COMPLETE_FROM = 19, /* u64 */
  P11T_HEAD_FILE_INDEX = 20,    /* u32, from 1 */
  P11T_HEAD_LIVE_PATH = 21,     /* path */
  P11T_HEAD_RECORDER = 22,      /* text: version */
  P11T_HEAD_DERIVED = 23,       /* text: by what, from which trace */
  P11T_HEAD_SEAL_KEY = 24       /* u8 scheme, public key that values are sealed to, key of the process sealed to it */
};

enum p11t_clock { P11T_CLOCK_TSC = 1, P11T_CLOCK_MONOTONIC = 2 };

/* One reading of all clocks at one moment. */
struct p11t_clock_pair {
  uint64_t ticks;     /* of the clock in use */
  uint64_t monotonic; /* ns */
  uint64_t boottime;  /* ns */
  uint64_t realtime;  /* ns since 1970 */
};

/* FRAME-INFO: before each data frame as a skippable frame, and, with packed and hash 0, as the first 64 bytes of the
 * frame's content, so that the output of `zstd -dc` can be read too. */
struct p11t_info {
  uint32_t magic;
  uint8_t kind;  /* enum p11t_frame */
  uint8_t clock; /* enum p11t_clock of first_time */
  uint16_t slot;
  uint32_t packed;                    /* bytes of the zstd frame */
  uint32_t content;                   /* bytes of its content, these 64 included */
  uint32_t tid;                       /* thread that owned the slot at the end of the fill */
  uint32_t generation;                /* of the slot: counts its fills, from 1 */
  uint32_t dropped;                   /* records lost so far in the process, at most 2^32 - 1 */
  uint32_t records;                   /* in this frame */
  uint64_t first_number, last_number; /* smallest and largest number; 0 when none is numbered */
  uint64_t first_time;                /* ticks of the first numbered record */
  uint64_t hash;                      /* XXH64, seed 0, of the 56 bytes before */
};

enum p11t_frame {
  P11T_FRAME_SCHEMA = 1,
  P11T_FRAME_EVENTS = 2,
  P11T_FRAME_TABLES = 3, /* MODULE, LIST and THREAD records restated at a new file; layout of EVENTS */
  P11T_FRAME_END = 4,
  P11T_FRAME_ATTACH = 5 /* reserved: what the application was configured with */
};

enum p11t_end_tag {
  P11T_END_RECORDS = 1, /* u64 records written, as the FRAME-INFOs count them */
  P11T_END_DROPPED = 2, /* u64 records lost */
  P11T_END_CUT = 3,     /* u64 values cut */
  P11T_END_LAST = 4,    /* u64 last number given out */
  P11T_END_CLOCK_PAIR = 5,
  P11T_END_OPEN = 6,    /* u64 each: ENTER numbers of calls still running */
  P11T_END_REASON = 7,  /* text: exit, full (goes on in the next file), dump (of a flight recorder) */
  P11T_END_PASSED = 8,  /* u64 calls passed through unrecorded */
  P11T_END_STATUS = 9,  /* u32 what the process gave to exit(), where the recorder was told */
  P11T_END_TRIGGER = 10 /* text: why a flight recorder's records were written */
};

/* Record kinds. Below 16 they are numbered: they have a number and a time. */
enum p11t_record {
  P11T_ENTER = 1,
  P11T_LEAVE = 2,
  P11T_MODULE = 3,
  P11T_UNLOAD = 4,
  P11T_FORK = 5, /* reserved: noticed in the parent */
  P11T_GAP = 6,
  P11T_SUSPEND = 7,
  P11T_DEVICE = 8,
  P11T_MARK = 9,
  P11T_CALLBACK = 10, /* an application's Notify was called, or returned */
  P11T_CHECKPOINT = 11,
  P11T_ATTACHED = 12,
  P11T_PROCESS = 13, /* how the process ended, where known */
  P11T_LIST = 14,    /* a function list of a module */
  P11T_STACK = 16,
  P11T_TIME = 17,
  P11T_THREAD = 18,
  P11T_OBJECT = 19 /* a loaded file: where addresses belong */
};
#define P11T_NUMBERED(kind) ((kind) < 16)

/* Flag of a STACK record: its file was replaced while it was in use, so a call that names it may be another file's. */
#define P11T_STACK_STALE 1

enum p11t_flag {
  P11T_FIRST = 1, /* first piece of a record */
  P11T_LAST = 2,  /* last piece */
  P11T_PROBE = 4, /* made by the shim, not the application */
  P11T_SNAPSHOT = 8,
  P11T_CUT = 16,     /* something in it was cut */
  P11T_ALTERED = 32, /* what the module got is not what the application gave */
  P11T_LATE = 64     /* attached after the start */
};

/* A record in a slot of the live file: this head, then `body` bytes, padded with zeros to a multiple of 8. */
struct p11t_raw {
  uint32_t commit; /* whole length, padding included; 0: not there (stored last) */
  uint8_t kind, flags;
  uint16_t function;
  uint16_t module; /* id; 0 when none */
  uint16_t stack;  /* index in this fill; 0: none */
  uint32_t body;   /* bytes */
  uint64_t number; /* 0 in records that have none */
  uint64_t time;   /* ticks */
  uint64_t aux;    /* ENTER: stack pointer / 16; LEAVE: number of its ENTER; else 0 */
};
#define P11T_RAW 40
#define P11T_PIECE 16384 /* largest body of one piece */

#define P11T_SLOT_SIZE 65536
#define P11T_SLOT_HEAD 64
#define P11T_MAX_SLOTS 1024
#define P11T_LIVE_HEAD 8192

/* First bytes of a slot. */
struct p11t_slot_head {
  uint32_t magic;
  uint32_t index;      /* the slot of frames and records: in a flight recorder not the place in the file */
  uint32_t generation; /* of the fill that is being written; 0: being changed, nothing is in it */
  uint32_t tid;        /* owner, 0: free */
  uint32_t reserved[12];
};

/* First bytes of NAME.p11t.live. */
struct p11t_live_head {
  char magic[8];
  uint16_t major, minor;
  uint32_t head_size; /* offset of slot 0 */
  uint32_t slot_size;
  uint32_t slots;     /* grows; slot i lies at head_size + i * slot_size */
  uint64_t trace_end; /* where the last whole frame of the trace ends */
  uint64_t dropped, cut, passed;
  uint64_t frames;
  uint32_t state;              /* enum p11t_live_state */
  uint32_t exit_code;          /* noted by a wrapped _exit; with bit 31 set it is valid */
  struct p11t_clock_pair last; /* latest reading, so that a killed trace can be timed */
  uint32_t head_bytes;         /* copy of HEAD's content follows at offset 256 */
  uint32_t file;               /* index of the file that trace_end is of; 0: the first and only, or between two files */
  uint64_t complete_from;      /* of a flight recorder: all numbers from here on are in the slots */
};
#define P11T_LIVE_HEAD_COPY 256
#define P11T_SLOT_TABLES 0xffffffffu /* index of a slot that holds what TABLES frames hold */
enum p11t_live_state { P11T_RECORDING = 1, P11T_LOSING = 2, P11T_CLOSED = 3 };

/* Value forms (V). */
enum p11t_form {
  P11T_V_NULL = 0,        /* NULL pointer */
  P11T_V_FULL = 1,        /* N length, bytes */
  P11T_V_CUT = 2,         /* N true length, N kept, bytes */
  P11T_V_TAG = 3,         /* N length, 8 bytes tag, 1 byte shape */
  P11T_V_SEALED = 4,      /* N length, N sealed length, bytes: u8 class, N place, 8 bytes tag, 1 byte shape, box */
  P11T_V_UNREAD = 5,      /* N length: the module did not read it either, or it could not be read */
  P11T_V_UNAVAILABLE = 6, /* length is CK_UNAVAILABLE_INFORMATION */
  P11T_V_DICT = 7,        /* N length, N index in a dictionary: reserved */
  P11T_V_LENGTH = 8,      /* N length only (capture=meta) */
  P11T_V_NUMBER = 9,      /* U: bytes of a CK_ULONG of this architecture */
  P11T_V_BOOL = 10,       /* 1 byte: a CK_BBOOL */
  P11T_V_TEMPLATE = 11,   /* N count, attributes (a nested template) */
  P11T_V_DEFERRED = 12,   /* N length: too long to be read before the call; the value stands in LEAVE if it was read */
  P11T_V_NUMBERS = 13,    /* N count, U each: array of CK_ULONG */
  P11T_V_STRUCT = 14      /* N structure number, members: all of them */
};

/* What a CALLBACK says. */
enum p11t_callback { P11T_CALLBACK_BEGINS = 1, P11T_CALLBACK_ENDS = 2 };

enum p11t_shape { P11T_SHAPE_SAME = 1, P11T_SHAPE_ZERO = 2, P11T_SHAPE_DER = 4, P11T_SHAPE_TEXT = 8 };

/* Pointer classes (P). */
#define P11T_P_NULL 0
#define P11T_P_OWN 1
#define P11T_P_UNREADABLE 2
#define P11T_P_SAME 16    /* + 1-based position of the parameter that has the same address */
#define P11T_P_OVERLAP 32 /* + 1-based position of the parameter that it overlaps */

/* Classes of C_Initialize's member after flags. */
enum p11t_reserved { P11T_R_NULL, P11T_R_OURS, P11T_R_TEXT, P11T_R_OTHER };

/* How a module came to be traced. */
enum p11t_how { P11T_HOW_CHAINED = 1, P11T_HOW_PRELOADED, P11T_HOW_AUDITED };

#endif
