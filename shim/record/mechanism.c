#include <string.h>

#include "shim/record/encode.h"

/* Class of a parameter that is no structure. What the tables do not know is a vendor's, and secret. */
static enum p11_secrecy plain_secrecy(uint64_t mechanism)
{
  switch (p11_mechanism_plain(mechanism)) {
    case P11_PLAIN_IV:
    case P11_PLAIN_NUMBER:
    case P11_PLAIN_HANDLE:
    case P11_PLAIN_VERSION: return P11_PUBLIC;
    default: return P11_SECRET;
  }
}

/* A number or handle is kept as one, so that a reader need not know the width of a CK_ULONG. */
static bool is_number(uint64_t mechanism, uint64_t size)
{
  enum p11_plain plain = p11_mechanism_plain(mechanism);
  return size == sizeof(CK_ULONG) && (plain == P11_PLAIN_NUMBER || plain == P11_PLAIN_HANDLE);
}

void p11t_mechanism_in(struct p11t_writer *w, const CK_MECHANISM *m, unsigned depth)
{
  uint64_t size = m->ulParameterLen;
  const void *parameter = m->pParameter;
  p11t_u(w, m->mechanism);
  p11t_pointer(w, parameter);
  p11t_u(w, size);
  unsigned number = parameter && depth <= P11T_DEPTH ? p11_mechanism_struct(m->mechanism, parameter, size) : P11_S_NONE;
  p11t_n(w, number);
  if (number != P11_S_NONE) {
    p11t_members(w, p11_struct_info(number), parameter, P11_IN, depth);
  } else if (parameter && is_number(m->mechanism, size)) {
    CK_ULONG v;
    memcpy(&v, parameter, sizeof v);
    p11t_u8(w, P11T_V_NUMBER);
    p11t_u(w, v);
  } else if (parameter && size != CK_UNAVAILABLE_INFORMATION && size > P11T_EARLY) {
    p11t_value_unread(w, size);
  } else {
    p11t_value(w, plain_secrecy(m->mechanism), parameter, size);
  }
}

static bool has_outputs(const struct p11_struct *s)
{
  for (unsigned i = 0; i < s->count; i++) {
    if (s->field[i].direction & P11_OUT) return true;
  }
  return false;
}

void p11t_mechanism_out(struct p11t_writer *w, const CK_MECHANISM *m)
{
  unsigned number =
      m && m->pParameter ? p11_mechanism_struct(m->mechanism, m->pParameter, m->ulParameterLen) : P11_S_NONE;
  if (number != P11_S_NONE && !has_outputs(p11_struct_info(number))) number = P11_S_NONE;
  p11t_n(w, number);
  if (number != P11_S_NONE) p11t_members(w, p11_struct_info(number), m->pParameter, P11_OUT, 0);
}
