/* Is an object of today the one that the trace knew? */
#include <string.h>

#include "decoder/replay/live.h"
#include "decoder/replay/portrait_part.h"

static const struct value *find(const struct portrait *portrait, uint64_t type)
{
  for (size_t i = 0; i < portrait->count; i++)
    if (portrait->attribute[i].number == type && portrait->attribute[i].count) return &portrait->attribute[i].item[0];
  return NULL;
}

const struct value *portrait_attribute(const struct portrait *portrait, uint64_t type)
{
  const struct value *v = find(portrait, type);
  return v && (v->what != VALUE_BYTES || v->form == P11T_V_FULL) ? v : NULL;
}

bool portrait_number(const struct portrait *portrait, uint64_t type, uint64_t *number)
{
  const struct value *v = portrait_attribute(portrait, type);
  if (!v || v->what != VALUE_NUMBER) return false;
  *number = v->number;
  return true;
}

const uint8_t *portrait_bytes(const struct portrait *portrait, uint64_t type, size_t *length)
{
  static const uint8_t none[1];
  const struct value *v = portrait_attribute(portrait, type);
  if (!v || v->what != VALUE_BYTES) return NULL;
  *length = v->kept;
  return v->bytes ? v->bytes : none;
}

uint64_t portrait_length(const struct portrait *portrait, uint64_t type)
{
  const struct value *v = find(portrait, type);
  return v ? v->length : UINT64_MAX;
}

/* What tells objects apart, and how much. Below 0: it cannot be another one of these. What a fresh key has not in common
 * with the recorded one counts for it only. */
#define NEVER (-1)
static const struct {
  uint64_t type;
  int same, other;
} telling[] = {
    {CKA_CLASS,            4,  NEVER},
    {CKA_KEY_TYPE,         4,  NEVER},
    {CKA_CERTIFICATE_TYPE, 4,  NEVER},
    {CKA_TOKEN,            1,  NEVER},
    {CKA_ID,               16, 16   },
    {CKA_LABEL,            8,  8    },
    {CKA_SUBJECT,          8,  8    },
    {CKA_ISSUER,           8,  8    },
    {CKA_SERIAL_NUMBER,    8,  8    },
    {CKA_APPLICATION,      8,  8    },
    {CKA_OBJECT_ID,        8,  8    },
    {CKA_VALUE,            64, 16   },
    {CKA_MODULUS,          64, 0    },
    {CKA_EC_POINT,         64, 0    },
    {CKA_EC_PARAMS,        4,  16   },
    {CKA_MODULUS_BITS,     4,  16   },
    {CKA_VALUE_LEN,        4,  16   },
    {CKA_PRIVATE,          1,  1    },
};

static bool is_same(const struct value *recorded, const uint8_t *bytes, size_t length)
{
  if (recorded->what == VALUE_BYTES)
    return recorded->kept == length && (!length || !memcmp(recorded->bytes, bytes, length));
  if (recorded->what != VALUE_NUMBER) return true;
  CK_ULONG number = 0;
  if (length == sizeof number) memcpy(&number, bytes, sizeof number);
  return length == 1 ? (bytes[0] != 0) == (recorded->number != 0) : number == recorded->number;
}

int portrait_fits(struct player *player, const struct portrait *portrait, uint64_t session, uint64_t object,
                  bool *wholly)
{
  const CK_FUNCTION_LIST_3_2 *f = target_functions(player->target);
  int score = 0;
  *wholly = true;
  if (!f->C_GetAttributeValue) return 0;
  for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
    const struct value *recorded = portrait_attribute(portrait, telling[i].type);
    if (!recorded) continue;
    uint8_t bytes[8192];
    CK_ATTRIBUTE a = {telling[i].type, bytes, sizeof bytes};
    if (f->C_GetAttributeValue(session, object, &a, 1) != CKR_OK || a.ulValueLen > sizeof bytes) continue;
    if (is_same(recorded, bytes, a.ulValueLen)) {
      score += telling[i].same;
      continue;
    }
    *wholly &= telling[i].other == 0;
    if (telling[i].other == NEVER) return -1000;
    score -= telling[i].other;
  }
  return score;
}
