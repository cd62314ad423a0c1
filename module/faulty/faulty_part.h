/* What the files of the framework share; no fault needs it. */
#ifndef FAULTY_PART_H
#define FAULTY_PART_H

#include "faulty/faulty.h"

typedef void flt_function(void); /* any function; called through its own type */

enum {
  P11_F_ANY = P11_FUNCTIONS,
  FLT_ACTIVE_MAX = 32,
  FLT_LIMITS = 4,
};

struct flt_hook {
  int function; /* enum p11_function or P11_F_ANY */
  flt_function *run;
};

/* One entry of faults.def. */
struct flt_fault {
  const char *name, *rule, *text;
  const struct flt_hook *hooks;
  size_t count;
};
extern const struct flt_fault flt_faults[];
extern const size_t flt_faults_count;

/* name@C_Function:FIRST-LAST */
struct flt_limit {
  int function; /* P11_F_ANY: each function of the fault */
  unsigned long first, last;
};

/* A fault that was asked for. */
struct flt_active {
  const struct flt_fault *fault;
  CK_ULONG value;
  bool has_value;
  struct flt_limit limit[FLT_LIMITS];
  size_t limits;
  struct {
    flt_function *run;
    bool any;
  } by_function[P11_FUNCTIONS];
};

/* The faults in the order given. Published whole and never changed, nor freed: calls may be under way. */
struct flt_set {
  char *text; /* as configured */
  char problem[512];
  size_t count;
  struct flt_active active[FLT_ACTIVE_MAX];
};

/* flt_config.c: reads the configuration again and publishes it if it has changed. CKR_OK, or why there is no target. */
CK_RV flt_configure(void);
/* The published set. */
const struct flt_set *flt_current(void);
/* flt_parse.c: fills in a set from its text; false and .problem if it cannot be understood. */
bool flt_parse(struct flt_set *set);

/* flt_target.c: loads the target and fills in the functions below. */
CK_RV flt_load(const char *path);
extern flt_function *flt_target[P11_FUNCTIONS];
flt_type_C_GetFunctionList flt_lists_function_list;
flt_type_C_GetInterfaceList flt_lists_interface_list;
flt_type_C_GetInterface flt_lists_interface;

/* flt_entry.c */
void flt_calls_reset(void); /* counting begins anew */
extern flt_function *const flt_entries[P11_FUNCTIONS];

/* flt_state.c */
int flt_self(void); /* which fault is running: its place in the set */
void flt_state_reset(void);
/* flt_sessions.c: kept by the calls that reach the target. */
void flt_opened(CK_SESSION_HANDLE handle, CK_SLOT_ID slot, CK_FLAGS flags);
void flt_closed(CK_SESSION_HANDLE handle);
void flt_closed_all(CK_SLOT_ID slot);
void flt_finalized(void);
void flt_drop_session_state(CK_SESSION_HANDLE handle);
void flt_drop_state(void);
/* Grows by each C_Finalize that reaches the target. */
unsigned long flt_epoch(void);

#endif
