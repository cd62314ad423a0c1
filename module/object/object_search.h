/* Searching. */
#ifndef TOK_OBJECT_SEARCH_H
#define TOK_OBJECT_SEARCH_H

#include "objects.h"

struct tok_session;

/* An active search: the handles that were found at C_FindObjectsInit. */
struct tok_found {
  size_t count, room, next;
  CK_OBJECT_HANDLE *handle;
};

/* The objects that the session sees and that have every attribute of the template, byte for byte, in the order in
 * which they were made, session objects first. *found is the caller's (tok_found_free). An attribute that no object
 * has finds nothing, and so does a value that may not be revealed: a search must not be a way to guess it. Damaged
 * objects are left away, so that one of them does not hide the rest. */
CK_RV tok_search(struct tok_session *session, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_found **found);

#endif
