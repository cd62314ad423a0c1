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

#include "decoder/model/note.h"
#include "decoder/model/pick.h"
#include "decoder/model/table.h"

#define MODEL_OBJECTS 4096 /* per (process, module) */
#define MODEL_KEYS 256     /* CKA_IDs of private keys that are remembered per slot */

enum { LOGIN_PUBLIC = 1, LOGIN_USER = 2, LOGIN_SO = 4, LOGIN_ANY = 7 };
enum model_epoch { EPOCH_UNKNOWN, EPOCH_CLOSED, EPOCH_OPEN };
enum model_tri { TRI_UNKNOWN, TRI_NO, TRI_YES };

/* CK_TOKEN_INFO as last reported. Texts without trailing blanks, NUL-terminated, as the module gave them. */
struct model_token {
  bool known;
  char label[33], maker[33], model[17], serial[17];
  uint64_t flags, min_pin, max_pin;
  struct note note;
};

struct model_slot {
  uint64_t id;
  struct model_module *module;
  struct model_token token;
  bool has_flags;
  uint64_t flags;           /* of CK_SLOT_INFO */
  uint64_t seen;            /* ns: the token last answered */
  uint64_t removal;         /* ns: last sign that the token is not there; 0 never */
  unsigned sessions;        /* open, opened in this trace */
  uint8_t login;            /* set of LOGIN_*: the states that are possible */
  struct note user;         /* last successful C_Login(CKU_USER) of the token */
  unsigned changing;        /* state-changing calls in flight */
  uint64_t changed;         /* LEAVE number of the last one that is over */
  uint64_t key[MODEL_KEYS]; /* hashes of CKA_ID of private keys that were seen; a ring */
  unsigned keys;
  /* What single rules remember of the slot. */
  struct {
    struct note login;   /* NSS-LOGIN-09: a success that no C_GetSessionInfo has answered yet */
    uint64_t asked;      /*   when the first of a row of such logins was made (ns) */
    unsigned cycles;     /*   how many in that row were not confirmed */
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

struct model_session {
  uint64_t handle;
  struct model_slot *slot; /* never NULL */
  uint64_t flags;          /* CKF_* given to C_OpenSession */
  struct note opened;      /* C_OpenSession; empty when that is not in the trace */
  bool searching;
  struct model_facts search; /* of the active C_FindObjects */
};

struct model_object {
  uint64_t handle;
  struct model_slot *slot; /* NULL unknown */
  struct model_facts facts;
  uint64_t creator;                   /* session that created it, 0 when it was found */
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

struct model_module {
  struct model_process *process;
  uint16_t id;
  enum model_epoch epoch;
  struct note initialized;     /* C_Initialize of this epoch */
  struct note session_failure; /* last C_OpenSession that failed, or last call that found its session gone */
  unsigned lowest_list;        /* smallest version of a "PKCS 11" list handed out, major * 256 + minor; 0 none */
  struct table slots, sessions, objects;
  struct model_object *newest, *oldest;
  unsigned changing; /* state-changing calls in flight whose slot is not known, or that touch all */
  uint64_t changed;
  struct table in_flight; /* ENTER number -> struct model_slot or the module itself */
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
  bool child; /* forked, and has not called C_Initialize itself */
  struct table modules;
};

/* Where a call belongs; any pointer but process and module may be NULL. */
struct model_place {
  struct model_process *process;
  struct model_module *module;
  struct model_slot *slot;
  struct model_session *session;
  struct model_object *object;
  void *changes; /* what the call may have changed: the module, one of its slots, or NULL */
};

/* Takes in the start of a call, a module, a list, a marker or an end. `origin`: ns, what times are shown from. */
void model_event(const struct event *event, uint64_t origin);
/* Where a finished call (EVENT_CALL) belongs. It is no longer in flight then. */
void model_place(const struct event *event, struct model_place *place);
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
/* Is a private key with that (hash of a) CKA_ID known in the slot? */
bool model_has_key(const struct model_slot *slot, uint64_t id);
/* CK_TOKEN_INFO of a successful C_GetTokenInfo; false when the trace does not have it. token->note is left empty. */
bool model_token_info(const struct call *call, struct model_token *token);
/* Facts of a template: what it says of class, token, private and id. */
struct model_facts model_facts(const struct value *template);

/* No call that changes sessions, logins or the token of that slot overlaps `call` (rules.md 3.3, the simple form). */
bool model_settled(const struct model_slot *slot, const struct call *call);
/* The token was removed, or answered as if, within the second before `call` ended. */
bool model_removal(const struct model_slot *slot, const struct call *call);
/* Login states that CKS_* state belongs to: one of LOGIN_*, 0 for a number that is no state. */
unsigned model_state_class(uint64_t state);

/* The file name of the module's path, "" when not known. */
const char *model_module_name(const struct model_module *module);
const char *model_module_path(const struct model_module *module);

/* Internal: the parts of model_apply, model_session.c and model_object.c. */
void model_apply_session(const struct call *call, struct model_place *place);
void model_apply_object(const struct call *call, struct model_place *place);
void model_drop_sessions(struct model_module *module, const struct model_slot *slot); /* NULL: of all slots */
void model_drop_objects(struct model_module *module);
void model_note(const struct model_place *place, struct note *note, const struct call *call);

#endif
