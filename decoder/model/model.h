/* What the calls of a trace say about modules, slots, tokens, sessions, logins and objects.
 *
 * One model_process per process of the set, one model_module per (process, module). The state of a model_slot,
 * model_session or model_object is what is known before the call that is being looked at: rules see it, then
 * model_apply() takes the call in. "Unknown" is always possible: the trace may begin late or have holes (rules that need
 * history are silent then).
 *
 * Memory does not grow with the trace: sessions are keyed by live handles and dropped when closed, objects are kept for the
 * MODEL_OBJECTS most recently used, everything of a process goes when its trace ends. */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "decoder/model/kept.h"
#include "decoder/model/note.h"
#include "decoder/model/pick.h"
#include "decoder/model/table.h"

#define MODEL_OBJECTS 4096 /* per (process, module) */
#define MODEL_KEYS 256     /* CKA_IDs of private keys that are remembered per slot */

enum { LOGIN_PUBLIC = 1, LOGIN_USER = 2, LOGIN_SO = 4, LOGIN_ANY = 7 };
enum model_epoch { EPOCH_UNKNOWN, EPOCH_CLOSED, EPOCH_OPEN };
enum model_tri { TRI_UNKNOWN, TRI_NO, TRI_YES };

/* A mechanism of a slot as last reported. */
struct model_mechanism {
  uint64_t type;
  bool listed;                 /* in the last complete C_GetMechanismList */
  bool known;                  /* C_GetMechanismInfo answered */
  uint64_t flags, least, most; /* CKF_*; key sizes in the mechanism's unit */
  struct note note;            /* the C_GetMechanismInfo, or the list */
};

/* CK_TOKEN_INFO as last reported. Texts without trailing blanks, NUL-terminated, as the module gave them. */
struct model_token {
  bool known;
  bool labelled; /* the trace has the label: it may be redacted, and is "" then */
  char label[33], maker[33], model[17], serial[17];
  uint64_t flags, min_pin, max_pin;
  uint64_t sessions, max_sessions, rw_sessions,
      max_rw_sessions; /* CK_UNAVAILABLE_INFORMATION, CK_EFFECTIVELY_INFINITE */
  struct note note;
};

/* What is known of the order of the calls of a slot: window.c. */
struct model_window {
  unsigned asking, changing;     /* in flight: calls that matter; of them those that may change the login */
  unsigned closing, closing_all; /* of them C_CloseSession; C_CloseAllSessions and C_InitToken */
  bool open;                     /* a call that may change the login is under way, or overlaps one that is */
  bool lost;                     /* the calls of the open window cannot be followed */
  bool unsure;                   /* there may be sessions that are not known */
  uint8_t before;                /* set of LOGIN_* when it opened */
  unsigned live, live_before;    /* open sessions that are known; the same when it opened */
  uint64_t cut;                  /* LEAVE number of its last change; calls that began before it are waited for */
  unsigned waits;
  struct window *calls; /* NULL until calls overlapped */
};

struct model_slot {
  uint64_t id;
  struct model_module *module;
  struct model_token token;
  bool has_flags;
  uint64_t flags;       /* of CK_SLOT_INFO */
  uint64_t seen;        /* ns: the token last answered */
  uint64_t removal;     /* ns: last sign that the token is not there; 0 never */
  unsigned sessions;    /* open, opened in this trace */
  unsigned rw_sessions; /* of them read/write */
  uint8_t login;        /* set of LOGIN_*: the states that are possible */
  struct model_window window;
  struct note user;    /* last successful C_Login(CKU_USER) of the token */
  unsigned generation; /* how often a token came, or another one showed up */
  bool absent;         /* the last sign of the token was that it is not there */
  struct note gone,
      back; /* last sign that it is not there; first sign that it is there again (empty while it is not) */
  /* What happened last to the login, for those who must say why it changed. Empty: never in this trace. */
  struct {
    struct note login;     /* C_Login(CKU_USER) = CKR_OK or CKR_USER_ALREADY_LOGGED_IN */
    struct note so;        /* C_Login(CKU_SO) = CKR_OK */
    struct note logout;    /* C_Logout that succeeded */
    struct note closed;    /* a session of the slot was closed while others stayed open */
    struct note all;       /* the last session was closed, C_CloseAllSessions, C_InitToken */
    struct note pin;       /* C_SetPIN or C_InitPIN */
    struct note user_seen; /* C_GetSessionInfo reported the user logged in */
    struct note public_seen;
  } last;
  struct table mechanisms; /* type -> struct model_mechanism, owned */
  bool mechanisms_listed;  /* a complete list was seen */
  struct kept *kept;
  unsigned changing; /* state-changing calls in flight */
  unsigned looking;  /* C_GetSlotInfo, C_GetTokenInfo, C_OpenSession in flight; the one at hand is not among them */
  uint64_t changed;  /* LEAVE number of the last one that is over */
  uint64_t key[MODEL_KEYS]; /* hashes of CKA_ID of private keys that were seen; a ring */
  unsigned keys;
  /* What single rules remember of the slot. */
  struct {
    struct note refused; /* NSS-LOGIN-10: a C_Login that failed with a code that says nothing */
    uint64_t refused_session, refused_length, refused_tag; /* tag 0: not recorded */
    bool refused_reported;
    uint64_t label[16]; /* NSS-CERT-01: hashes of labels that the application itself wrote */
    unsigned labels;
  } rule;
};

/* The object class of a search or an object when it is not known. */
#define MODEL_NO_CLASS UINT64_MAX

/* What a template says of the objects that it describes. */
struct model_facts {
  uint64_t class;            /* MODEL_NO_CLASS */
  uint64_t id;               /* hash of CKA_ID, 0 unknown; not set for an empty one */
  uint8_t token, is_private; /* enum model_tri */
};

/* What is at work in a session. */
enum model_op {
  OP_FIND,
  OP_ENCRYPT,
  OP_DECRYPT,
  OP_DIGEST,
  OP_SIGN,
  OP_SIGN_RECOVER,
  OP_VERIFY,
  OP_VERIFY_RECOVER,
  OP_VERIFY_SIGNATURE,
  OP_MESSAGE_ENCRYPT,
  OP_MESSAGE_DECRYPT,
  OP_MESSAGE_SIGN,
  OP_MESSAGE_VERIFY,
  OP_KINDS
};
/* UNKNOWN: opened before the trace, calls overlapped, or an answer that leaves it open. */
enum model_op_state { OP_UNKNOWN, OP_NONE, OP_INIT, OP_UPDATING };

struct model_operation {
  uint8_t state;           /* enum model_op_state */
  bool context;            /* a C_Login(CKU_CONTEXT_SPECIFIC) succeeded since the Init */
  uint64_t mechanism, key; /* CK_UNAVAILABLE_INFORMATION, 0: not known */
  struct note begun;       /* the Init that succeeded; with OP_NONE: of the one before */
  struct note last;        /* the last call on it; with OP_NONE: the one that ended it */
  struct note login;       /* the context login */
};

struct model_session {
  uint64_t handle;
  struct model_slot *slot; /* never NULL */
  uint64_t flags;          /* CKF_* given to C_OpenSession */
  struct note opened;      /* C_OpenSession; empty when that is not in the trace */
  bool searching;
  struct model_facts search;  /* of the active C_FindObjects */
  struct model_search *found; /* more of it: search.h; NULL when the session never searched */
  struct model_operation op[OP_KINDS];
  unsigned in_flight;  /* calls on it that have begun and are not over; the one at hand is not among them any more */
  uint32_t tid;        /* thread of the last call on it */
  uint64_t busy_end;   /* LEAVE number of the last call on it that is over */
  uint64_t answered;   /* ns: when a call on it last succeeded; 0 never */
  uint64_t login_seen; /* LEAVE number of the last login or logout that op[] takes into account */
  uint64_t user_seen;  /* number of the last report of it that the user is logged in */
  bool lost;           /* the module did not know this handle, or another of the slot, that nobody had closed */
  bool makes;          /* it has made objects */
  struct kept *kept;
};

/* A handle that was good once. */
enum model_gone_why {
  GONE_CLOSED = 1, /* C_CloseSession; of an object: C_DestroyObject */
  GONE_CREATOR,    /* the session that made the session object was closed */
  GONE_ALL,        /* C_CloseAllSessions, or the last session was closed */
  GONE_LOGOUT,     /* a private object, and C_Logout */
  GONE_REMOVED,    /* the token was removed, or C_InitToken */
  GONE_FINALIZED,
  GONE_LOST /* the module said that the handle is not valid */
};
struct model_gone {
  uint64_t handle, slot; /* slot: UINT64_MAX unknown */
  enum model_gone_why why;
  struct note made, note;    /* what made or showed it, may be empty; what ended it */
  uint64_t class;            /* of an object, MODEL_NO_CLASS unknown */
  uint8_t token, is_private; /* of an object: enum model_tri */
};
#define MODEL_GONE 512 /* handles of each kind that are remembered, per (process, module) */

/* An attribute of an object as it was last given, searched for or read. Compare values with model_same(). */
enum model_source { SOURCE_FOUND = 1, SOURCE_GIVEN, SOURCE_READ };
struct model_attribute {
  uint64_t type;
  uint64_t length; /* bytes; UINT64_MAX: CK_UNAVAILABLE_INFORMATION (the object does not have or show it) */
  uint64_t number; /* of a CK_ULONG or CK_BBOOL the value, else a hash or the tag of the bytes; 0 not recorded */
  uint8_t source;  /* enum model_source: searched for and found, given by the application, read from the module */
  uint8_t tagged;  /* number is the trace's tag, comparable within the process only */
  uint8_t shape;   /* enum p11t_shape of bytes */
  uint8_t scalar;  /* number is a CK_ULONG or CK_BBOOL, and 0 is one of its values */
};
#define MODEL_ATTRIBUTES 28 /* per object; more are forgotten */

struct model_object {
  uint64_t handle;
  struct model_slot *slot; /* NULL unknown */
  struct model_facts facts;
  struct note made;  /* the call that created it, empty when it was found */
  struct note found; /* the first search that returned it */
  unsigned attributes;
  struct model_attribute attribute[MODEL_ATTRIBUTES];
  struct kept *kept;
  uint64_t creator;                   /* session that created it, 0 when it was found */
  struct note listed;                 /* the last search that returned it */
  uint64_t listed_session, listed_of; /* its session; how many handles that search had returned by then */
  uint64_t good, good_time;           /* number and end (ns) of the last call that proved the handle good; 0 none */
  bool shown_public;                  /* returned or read while nobody was logged in: everybody may see it */
  struct note nameless;               /* NSS-CERT-01: the read that found CKA_LABEL empty or missing */
  struct model_object *newer, *older; /* by last use */
};

/* One C_GetAttributeValue that could not answer all: P11-OBJ-03 looks at the reads that follow it. */
struct model_partial {
  struct note note;
  uint64_t object;
  unsigned count;
  struct {
    uint64_t type, room, length;
    bool buffer;
  } attribute[16]; /* room and buffer before, length after */
};

/* A login state that C_GetSessionInfo reported, with what it could have been; or an answer of C_Login or C_Logout that says
 * what the state is, and could not be. */
struct model_observation {
  struct note note; /* the call */
  struct model_slot *slot;
  uint64_t session, state, flags; /* handle; CKS_*; CKF_* of CK_SESSION_INFO */
  struct note opened;             /* C_OpenSession of that session, empty when not in the trace */
  uint64_t asked;                 /* CKF_* given to that C_OpenSession */
  unsigned seen;                  /* LOGIN_PUBLIC, _USER or _SO; of an answer a set: what it takes for granted */
  unsigned
      possible; /* set of LOGIN_*: what some order of the overlapping calls explains. `seen` is missing in it when none
                        explains this answer together with those of all calls that returned before */
  bool answer;  /* the answer of C_Login, C_LoginUser or C_Logout */
  bool overlapped; /* calls that change the login overlapped it */
  bool removal;    /* the token was removed, or answered as if, within the second before */
  bool probe;      /* the recorder asked, not the application */
};

/* Reports that the rules have not been told of yet. */
struct model_reports {
  struct model_observation *seen;
  unsigned count, at, room;
};

/* A call in flight that matters to the login of a slot. */
struct model_flight {
  uint64_t number;
  struct model_slot *slot;
  bool changes;
};

struct model_module {
  struct model_process *process;
  uint16_t id;
  enum model_epoch epoch;
  struct note initialized;     /* C_Initialize of this epoch */
  struct note session_failure; /* last C_OpenSession that failed, or last call that found its session gone */
  bool nss;                    /* C_Initialize was called with the arguments that NSS gives */
  unsigned lowest_list;        /* smallest version of a "PKCS 11" list handed out, major * 256 + minor; 0 none */
  struct table slots, sessions, objects;
  struct model_gone gone_session[MODEL_GONE], gone_object[MODEL_GONE]; /* rings */
  uint64_t gone_handle[2][MODEL_GONE]; /* their handles, of sessions and of objects, to be looked through quickly */
  unsigned gone_sessions, gone_objects;
  unsigned epochs;       /* how many C_Initialize of this process succeeded */
  struct note finalized; /* last C_Finalize */
  struct model_reports reports;
  struct model_flight *flight;
  unsigned flights, flight_room, opening; /* opening: C_OpenSession in flight on a slot that is not known yet */
  struct kept *kept;
  struct model_object *newest, *oldest;
  unsigned changing; /* state-changing calls in flight whose slot is not known, or that touch all */
  uint64_t changed;
  unsigned active;        /* calls that have begun and are not over; the one at hand is not among them any more */
  unsigned waiting;       /* of them C_WaitForSlotEvent */
  uint64_t ended;         /* LEAVE number of the last call that is over, C_WaitForSlotEvent apart */
  struct table in_flight; /* ENTER number -> struct model_slot or the module itself */
  unsigned making;        /* calls in flight that make, change or destroy objects */
  uint64_t made;          /* LEAVE number of the last one that is over */
  bool orphans;           /* objects were made in sessions that are not known */
  /* C_GetSlotList with a NULL buffer */
  struct {
    struct note note;
    uint64_t count;
  } announced[2];                           /* by tokenPresent */
  unsigned announcing;                      /* in flight */
  uint64_t announced_end, announced_before; /* LEAVE number of the last one and of the one before */
  bool asked_info;                          /* NSS-INIT-06: C_GetInfo was called in this epoch */
  struct model_partial partial[8];          /* P11-OBJ-03: a ring */
  unsigned partials;
};

struct model_process {
  struct process *process;
  uint64_t origin; /* ns: what times are shown from */
  uint64_t last_number;
  uint64_t latest; /* ns: the latest time that was seen */
  bool child;      /* forked, and has not called C_Initialize itself */
  struct table modules;
};

/* Where a call belongs; any pointer but process and module may be NULL. */
struct model_place {
  struct model_process *process;
  struct model_module *module;
  struct model_slot *slot;
  struct model_session *session;
  struct model_object *object;
  uint8_t idiom; /* enum idiom: what NSS does with the call */
  /* The call tells what an earlier one, a login, was for; number 0: it does not. */
  struct {
    uint64_t number;
    uint8_t idiom;
  } turned;
  void *changes; /* what the call may have changed: the module, one of its slots, or NULL */
};

/* Takes in the start of a call, a module, a list, a marker or an end. `origin`: ns, what times are shown from. */
void model_event(const struct event *event, uint64_t origin);
/* Where a finished call (EVENT_CALL) belongs. It is no longer in flight then. */
void model_place(const struct event *event, struct model_place *place);
/* Where a call that begins belongs. It is in flight already. */
void model_starting(const struct event *event, struct model_place *place);
/* Takes in what the finished call says of the login, or does to it; before model_apply(). */
void model_observe(const struct event *event, struct model_place *place);
/* Nothing comes any more: reports that wait for more calls are made now. */
void model_finish(struct model_module *module);
/* The next report of the module whose overlapping calls are all over, in the order of their LEAVEs; false when there is none.
 * Call until it is. */
bool model_observed(struct model_module *module, struct model_observation *seen);
/* Takes the finished call in. */
void model_apply(const struct event *event, struct model_place *place);
/* Frees what is known of the process. */
void model_drop(struct process *process);

/* The slot, made when it was not known. */
struct model_slot *model_slot(struct model_module *module, uint64_t id);
struct model_session *model_session(const struct model_module *module, uint64_t handle);
/* The object, moved to the front; NULL when not known. */
struct model_object *model_object(struct model_module *module, uint64_t handle);
/* The same, made when it was not known. */
struct model_object *model_object_make(struct model_module *module, uint64_t handle, struct model_slot *slot);
/* An object that a function makes. */
struct model_making {
  uint8_t template, handle; /* parameters: what was asked for, and the new handle */
  uint64_t class;           /* what it is when the template is silent, MODEL_NO_CLASS unknown */
};
/* Two entries, the second with handle 0 when the function makes one object only; NULL when it makes none. */
const struct model_making *model_makes(int function);
/* The module of that id in the process, made when it was not known. */
struct model_module *model_module(struct model_process *process, uint16_t id);
/* Why a handle is not good any more: the last end of a session or object with it; NULL when it is not remembered. */
const struct model_gone *model_gone_session(const struct model_module *module, uint64_t handle);
/* Of the objects of that slot, and those of which the slot is not known; NULL: of all. */
const struct model_gone *model_gone_object(const struct model_module *module, const struct model_slot *slot,
                                           uint64_t handle);
/* An attribute of an object, NULL when nothing is known of it. */
const struct model_attribute *model_attribute(const struct model_object *object, uint64_t type);
/* Its value as a number, `otherwise` when it is not known. */
uint64_t model_number(const struct model_object *object, uint64_t type, uint64_t otherwise);
/* Its name, "CKA_0x80001234" when it has none. */
const char *model_attribute_name(uint64_t type, char text[32]);
/* Are two byte values the same (or different)? TRI_UNKNOWN when the trace does not say. */
enum model_tri model_same(const struct model_attribute *a, const struct model_attribute *b);
/* What a template says of an attribute: the value after `item`; false when it says nothing. */
bool model_attribute_of(const struct value *item, struct model_attribute *attribute);
/* A mechanism of the slot; NULL when neither list nor information is known. */
const struct model_mechanism *model_mechanism(const struct model_slot *slot, uint64_t type);
/* The operation that a function works on: OP_FIND for C_FindObjects ..., -1 none. */
int model_op_of(int function);
/* Is a private key with that (hash of a) CKA_ID known in the slot? */
bool model_has_key(const struct model_slot *slot, uint64_t id);
/* CK_TOKEN_INFO of a successful C_GetTokenInfo; false when the trace does not have it. token->note is left empty. */
bool model_token_info(const struct call *call, struct model_token *token);
/* Facts of a template: what it says of class, token, private and id. */
struct model_facts model_facts(const struct value *template);

/* No call that changes sessions, logins or the token of that slot overlaps `call` (rules.md 3.3, the simple form). */
bool model_settled(const struct model_slot *slot, const struct call *call);
/* Another call of the module overlaps `call`; one that waits for a slot's event is none. */
static inline bool model_overlapped(const struct model_module *module, const struct call *call)
{
  return module->active > module->waiting || module->ended > call->number;
}
/* The token was removed, or answered as if, within the second before `call` ended. */
bool model_removal(const struct model_slot *slot, const struct call *call);
/* Login states that CKS_* state belongs to: one of LOGIN_*, 0 for a number that is no state. */
unsigned model_state_class(uint64_t state);

/* Guard G7: p11-kit's proxy or client, pkcs11-spy or another recorder: it may answer for the module behind it. */
bool model_is_proxy(const struct model_module *module);
/* The file name of the module's path, "" when not known. */
const char *model_module_name(const struct model_module *module);
const char *model_module_path(const struct model_module *module);

/* Internal: the parts of model_apply, model_session.c and model_object.c. */
void model_apply_session(const struct call *call, struct model_place *place);
void model_apply_object(const struct call *call, struct model_place *place);
void model_drop_sessions(struct model_module *module, const struct model_slot *slot); /* NULL: of all slots */
void model_drop_objects(struct model_module *module);
void model_drop_objects_of(struct model_module *module, const struct model_session *session, const struct note *note);
void model_apply_operation(const struct call *call, struct model_place *place);
void model_refresh_operations(struct model_session *session); /* forgets what a login or logout since may have ended */
void model_apply_mechanism(const struct call *call, struct model_place *place);
/* One attribute; what was only FOUND does not replace what was given or read. */
void model_learn_attribute(struct model_object *object, const struct model_attribute *attribute,
                           enum model_source source);
void model_learn_attributes(struct model_object *object, const struct value *template, enum model_source source);
void model_session_gone(struct model_module *module, const struct model_session *session, enum model_gone_why why,
                        const struct note *note);
void model_object_gone(struct model_module *module, const struct model_object *object, enum model_gone_why why,
                       const struct note *note);
/* window.c: the login of a slot. */
void model_window_enter(struct model_module *module, const struct call *call);
void model_window_reset(struct model_slot *slot, uint8_t login, bool all_known); /* no session is open any more */
void model_window_removed(struct model_slot *slot, const struct call *call);     /* the call found the token removed */
bool model_may_be_last(const struct model_slot *slot); /* of the closes in flight: is one that of the last session? */
void model_was_open(struct model_slot *slot);          /* one more session than was known */
/* Was the session opened while C_CloseAllSessions was under way, so that it may be closed? */
bool model_doubtful(const struct model_session *session);
void model_session_lost(struct model_session *session); /* the module said that the handle is not valid */
void model_drop_reports(struct model_module *module);
void model_adopt(const struct call *call, struct model_place *place); /* a session that was opened before the trace */
void model_drop_objects_at(struct model_slot *slot, enum model_gone_why why, const struct note *note);
void model_free_object(void *object);
void model_free_session(void *session);
void model_token_present(const struct call *call, struct model_place *place);
void model_note(const struct model_place *place, struct note *note, const struct call *call);

#endif
