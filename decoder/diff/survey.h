/* What is in a trace, and what belongs to what in the other one. */
#ifndef DIFF_SURVEY_H
#define DIFF_SURVEY_H

#include "decoder/diff/diff.h"
#include "decoder/model/table.h"

#define SURVEY_OBJECTS 4096 /* per module */
#define SURVEY_FACTS 16     /* attributes of an object */

struct slot_seen {
  uint64_t id, name; /* name: the same in both traces for slots that belong together */
  char label[33];    /* of the token, as it first said */
  bool labelled, paired;
};

/* An object that a search returned, and what the trace says of it. */
struct object_seen {
  uint64_t key, name; /* key: of the handle, see object_key */
  uint64_t search;    /* hash of the search that first returned it */
  unsigned index;     /* its place among the new ones of that search */
  unsigned facts;
  struct {
    uint64_t type, hash;
    bool is_long; /* of at least 4 bytes: a label, an identifier, a certificate */
  } fact[SURVEY_FACTS];
  bool paired;
};

struct module_seen {
  uint16_t id;
  char *path;
  uint64_t calls;
  uint32_t tid; /* of the first call */
  bool threads; /* calls came from more than one */
  bool paired;
  struct slot_seen *slot;
  size_t slots, slot_room;
  struct object_seen *object;
  size_t objects, object_room;
  struct table by_key; /* -> index + 1 in object */
  uint64_t objects_lost;
};

struct process_seen {
  unsigned index; /* in the set that the survey has read */
  char *program, *path;
  uint32_t pid;
  uint64_t origin; /* ns: what `dump` of the whole trace counts from */
  struct module_seen *module;
  size_t modules, module_room;
  struct process_seen *other; /* NULL: only in this trace */
  bool lossy;                 /* records are missing */
};

struct survey {
  const char *path;
  struct process_seen *process;
  size_t processes;
  uint64_t calls;
  bool damaged;
};

/* Reads all of the trace. False: it cannot be opened (said). What is lost is said, and survey->damaged. */
bool survey_read(struct survey *survey, const char *path);
void survey_free(struct survey *survey);
/* Objects that searches found and that have no names, for there were too many. */
uint64_t survey_unnamed(const struct survey *survey);

/* Handles may be given out again after C_Finalize. */
uint64_t object_key(uint64_t handle, unsigned generation);

/* pair.c: sets `other` of processes, and names of the slots and objects of two modules. */
void pair_processes(struct survey *a, struct survey *b);
/* The module of `process` that belongs to `module`; NULL. */
struct module_seen *pair_module(const struct process_seen *from, const struct module_seen *module,
                                const struct process_seen *process);
void pair_names(struct module_seen *a, struct module_seen *b);

#endif
