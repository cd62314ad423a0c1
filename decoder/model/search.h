/* The search of a session: what it looks for and what it has found. For the rules about searches and certificates. */
#ifndef MODEL_SEARCH_H
#define MODEL_SEARCH_H

#include "decoder/model/model.h"

#define SEARCH_ATTRIBUTES 8 /* of a template; NSS's longest has 5 */
#define SEARCH_RESULTS 128  /* handles that are remembered */
#define SEARCH_MISSED 256   /* objects that are looked at for what is missing, the last used first */

struct model_search {
  bool active;   /* C_FindObjectsInit succeeded; no C_FindObjectsFinal since */
  bool whole;    /* attribute[] is the whole template, and each has a value that can be compared */
  bool complete; /* a call returned fewer handles than it had room for: for NSS the search is over */
  bool more;     /* and a later one (a probe: by_probe) returned something nevertheless */
  bool by_probe;
  bool failed;    /* C_FindObjects returned an error */
  uint8_t login;  /* LOGIN_* that were possible when it began */
  uint64_t key;   /* of the template: two searches for the same have the same; 0: cannot be told */
  uint64_t begun; /* number of C_FindObjectsInit */
  unsigned attributes;
  struct model_attribute attribute[SEARCH_ATTRIBUTES];
  uint64_t results, max; /* handles returned by the application's calls so far; ulMaxObjectCount of the last one */
  unsigned kept;         /* of them in handle[]: all if kept == results */
  uint64_t handle[SEARCH_RESULTS];
  struct note last;            /* the last C_FindObjects that succeeded; of the application's */
  struct note failure;         /* the last one that did not, with `failed` */
  uint64_t looked;             /* number of the C_FindObjectsFinal for which model_search_missed() was asked last */
  struct model_object *missed; /*   its first answer to that */
};

/* The search of the session, NULL when it never searched in this trace. It stays after C_FindObjectsFinal, with active
 * false, until the next C_FindObjectsInit. */
const struct model_search *model_search(const struct model_session *session);
/* The value that the search asks of an attribute, NULL none. */
const struct model_attribute *model_search_attribute(const struct model_search *search, uint64_t type);
/* Has it returned the handle? */
bool model_search_has(const struct model_search *search, uint64_t handle);
/* Does the object have all that is asked? TRI_UNKNOWN when an attribute of it is not known. `given`, if not NULL, is set
 * when that is so only because the application wrote an attribute that nobody has read since. */
enum model_tri model_search_matches(const struct model_search *search, const struct model_object *object, bool *given);
/* For C_FindObjectsFinal (or later): is the search over, are all its results known, and has nothing happened meanwhile
 * that changes objects or logins of the slot? Only then something can be missing. */
bool model_search_over(const struct model_session *session, const struct call *call);
/* The objects that the search should have returned and has not, one after the other: begin with NULL; model_object() must
 * not be called between. What is surely visible only: seen while nobody was logged in, or private beside a private one that
 * was returned. */
struct model_object *model_search_missed(const struct model_session *session, const struct call *call,
                                         const struct model_object *after);

/* No call that makes, changes or destroys objects of the module has been at work since record `number`. */
bool model_objects_still(const struct model_module *module, uint64_t number);
/* No call that changes the login, the sessions or the token of the slot has. */
bool model_login_still(const struct model_slot *slot, uint64_t number);
/* Nobody is logged in by what the application did, not only by what C_GetSessionInfo says; and the reverse for the user. */
bool model_logged_out(const struct model_slot *slot);
bool model_logged_in(const struct model_slot *slot);

/* Internal: model_apply. */
void model_apply_search(const struct call *call, struct model_place *place);

#endif
