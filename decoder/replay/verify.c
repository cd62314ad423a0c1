/* What was signed, session by session, and whether the signature that came out is one of it. */
#include <stdlib.h>
#include <string.h>

#include "decoder/model/operation.h"
#include "decoder/replay/verify_part.h"

#define MOST_DATA (64u << 10) /* bytes that are kept where a digest does not do */

/* An operation under way. */
struct signing {
  struct verify_mechanism mechanism;
  CK_OBJECT_HANDLE key;
  EVP_MD_CTX *digest; /* of the parts so far; NULL: not hashed */
  uint8_t *data;      /* else the parts themselves */
  size_t length;
  bool lost; /* there was more than is kept */
};

/* Of a session: C_SignInit, C_SignRecoverInit and C_MessageSignInit may be at work side by side. */
enum { KIND_SIGN, KIND_RECOVER, KIND_MESSAGE, KINDS };
struct session {
  struct signing kind[KINDS];
};

struct verify {
  struct table sessions; /* today's handle -> struct session */
  struct table keys;     /* today's handle -> struct verify_key */
};

static struct verify *verify_of(struct player *player)
{
  if (!player->verify) player->verify = model_alloc(sizeof *player->verify);
  return player->verify;
}

static void end(struct signing *s)
{
  EVP_MD_CTX_free(s->digest);
  free(s->data);
  memset(s, 0, sizeof *s);
}

static void drop_session(void *value)
{
  struct session *session = value;
  if (!session) return;
  for (int i = 0; i < KINDS; i++) end(&session->kind[i]);
  free(session);
}

/* Keys that end with their session; which one made them is not known. */
static void drop_session_keys(struct verify *verify)
{
  for (size_t i = 0; i < verify->keys.room; i++) {
    const struct verify_key *key = verify->keys.entry[i].value;
    if (!key || key->token) continue;
    verify_key_free(table_take(&verify->keys, verify->keys.entry[i].key));
    i = (size_t)-1; /* the table has moved */
  }
}

void verify_drop(struct player *player)
{
  if (!player->verify) return;
  table_clear(&player->verify->sessions, drop_session);
  table_clear(&player->verify->keys, verify_key_free);
  free(player->verify);
  player->verify = NULL;
}

static int kind_of(int function)
{
  int op[2];
  const unsigned ops = model_ops_of(function, op);
  for (unsigned i = 0; i < ops; i++) {
    if (op[i] == OP_SIGN) return KIND_SIGN;
    if (op[i] == OP_SIGN_RECOVER) return KIND_RECOVER;
    if (op[i] == OP_MESSAGE_SIGN) return KIND_MESSAGE;
  }
  return -1;
}

static int find(const struct live *live, unsigned kind)
{
  return pick_kind(live->call, kind);
}

static const void *pointer(uint64_t v)
{
  return (const void *)(uintptr_t)v;
}

static bool start_digest(struct signing *s)
{
  if (!verify_is_hashed(&s->mechanism)) return true;
  s->digest = EVP_MD_CTX_new();
  return s->digest && EVP_DigestInit_ex(s->digest, EVP_get_digestbyname(s->mechanism.hash), NULL) > 0;
}

static void begin(struct verify *verify, const struct live *live, int kind)
{
  const int mechanism = find(live, P11_K_MECHANISM), key = find(live, P11_K_KEY);
  const CK_MECHANISM *given = mechanism < 0 ? NULL : pointer(live->v[mechanism]);
  struct session *session = table_get(&verify->sessions, live->v[0]);
  if (session) end(&session->kind[kind]);
  if (!given || key < 0) return;
  const struct verify_mechanism m = verify_mechanism_of(given);
  if (m.how == VERIFY_NO) return;
  if (!session) table_put(&verify->sessions, live->v[0], session = model_alloc(sizeof *session));
  struct signing *s = &session->kind[kind];
  s->mechanism = m;
  s->key = live->v[key];
  if (!start_digest(s)) end(s);
}

static void add(struct signing *s, const uint8_t *part, size_t length)
{
  if (s->mechanism.how == VERIFY_NO || !length || !part) return;
  if (s->digest) {
    if (EVP_DigestUpdate(s->digest, part, length) <= 0) s->lost = true;
    return;
  }
  if (s->lost || length > MOST_DATA - s->length) {
    s->lost = true;
    return;
  }
  if (!s->data) s->data = model_alloc(MOST_DATA);
  memcpy(s->data + s->length, part, length);
  s->length += length;
}

/* Did the module write over parameter `at`, which is `length` bytes long? */
static bool written_over(const struct live *live, unsigned at, size_t length)
{
  for (unsigned i = 0; i < live->call->info->arity; i++) {
    if (live->call->info->param[i].kind != P11_K_OUT_BYTES || !live->v[i]) continue;
    if (live->v[i] < live->v[at] + length && live->v[at] < live->v[i] + live->room[i]) return true;
  }
  return false;
}

/* What the call gives to be signed; false when it is not there any more. */
static bool data_of(const struct live *live, const uint8_t **data, size_t *length)
{
  *data = NULL;
  *length = 0;
  for (unsigned i = 0; i < live->call->info->arity; i++) {
    const struct p11_param *p = &live->call->info->param[i];
    if (p->kind != P11_K_IN_BYTES || !p->link) continue;
    *data = pointer(live->v[i]);
    *length = live->v[p->link - 1];
    return !*data || !written_over(live, i, *length);
  }
  return true;
}

/* The signature that came out; false when none did. */
static bool signature_of(const struct live *live, const uint8_t **signature, size_t *length)
{
  for (unsigned i = 0; i < live->call->info->arity; i++) {
    const struct p11_param *p = &live->call->info->param[i];
    if (p->compare != P11_CMP_VERIFY || !p->link || !live->v[i] || !live->v[p->link - 1]) continue;
    CK_ULONG size;
    memcpy(&size, pointer(live->v[p->link - 1]), sizeof size);
    *signature = pointer(live->v[i]);
    *length = size;
    return size <= live->room[i];
  }
  return false;
}

static enum verified with_keys(const struct signing *s, const struct verify_key *key, const uint8_t *data,
                               size_t length, const uint8_t *signature, size_t signature_length)
{
  if (s->mechanism.how == VERIFY_HMAC) {
    if (!key->secret) return VERIFIED_NOT;
    return verify_hmac(&s->mechanism, key->secret, key->length, data, length, signature, signature_length);
  }
  enum verified verdict = VERIFIED_NOT;
  for (unsigned i = 0; i < key->count; i++) {
    const enum verified one = verify_check(&s->mechanism, key->key[i], data, length, signature, signature_length);
    if (one == VERIFIED) return VERIFIED;
    if (one == VERIFIED_WRONG) verdict = VERIFIED_WRONG;
  }
  return verdict;
}

static const struct verify_key *key_of(struct player *player, const struct live *live, const struct signing *s,
                                       bool again)
{
  struct verify *verify = player->verify;
  struct verify_key *key = table_get(&verify->keys, s->key);
  if (key && !again) return key;
  key = verify_key_read(target_functions(player->target), live->v[0], s->key, &s->mechanism);
  verify_key_free(table_put(&verify->keys, s->key, key));
  return key;
}

/* All that was signed: `data` alone or behind the parts before it; a digest of it where the mechanism hashes. */
static bool whole(const struct signing *s, const uint8_t *data, size_t length, uint8_t *digest, const uint8_t **all,
                  size_t *all_length)
{
  if (s->digest) {
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    unsigned size = 0;
    const bool good = copy && !s->lost && EVP_MD_CTX_copy_ex(copy, s->digest) > 0 &&
                      (!length || EVP_DigestUpdate(copy, data, length) > 0) &&
                      EVP_DigestFinal_ex(copy, digest, &size) > 0;
    EVP_MD_CTX_free(copy);
    *all = digest;
    *all_length = size;
    return good;
  }
  static const uint8_t nothing[1];
  if (s->lost || (s->length && length)) return false;
  *all = s->length ? s->data : data ? data : nothing;
  *all_length = s->length ? s->length : length;
  return true;
}

enum verified verify_signature(struct player *player, const struct live *live)
{
  const int kind = kind_of(live->call->known);
  const struct session *session = player->verify ? table_get(&player->verify->sessions, live->v[0]) : NULL;
  if (kind < 0 || !session || live->rv != CKR_OK) return VERIFIED_NOT;
  const struct signing *s = &session->kind[kind];
  const uint8_t *signature, *data, *all;
  size_t signature_length, length, all_length;
  uint8_t digest[EVP_MAX_MD_SIZE];
  if (s->mechanism.how == VERIFY_NO || !signature_of(live, &signature, &signature_length)) return VERIFIED_NOT;
  if (!data_of(live, &data, &length) || !whole(s, data, length, digest, &all, &all_length)) return VERIFIED_NOT;
  const bool known = table_get(&player->verify->keys, s->key) != NULL;
  enum verified verdict = with_keys(s, key_of(player, live, s, false), all, all_length, signature, signature_length);
  /* The handle may be another key's by now. */
  if (verdict == VERIFIED_WRONG && known)
    verdict = with_keys(s, key_of(player, live, s, true), all, all_length, signature, signature_length);
  return verdict;
}

static void restart(struct signing *s)
{
  EVP_MD_CTX_free(s->digest);
  s->digest = NULL;
  s->length = 0;
  s->lost = false;
  if (s->mechanism.how != VERIFY_NO && !start_digest(s)) end(s);
}

static void go_on(struct verify *verify, const struct live *live, int kind)
{
  struct session *session = table_get(&verify->sessions, live->v[0]);
  if (!session) return;
  struct signing *s = &session->kind[kind];
  const uint8_t *bytes;
  size_t length;
  const bool asked = model_asks_length(live->call) || live->rv == CKR_BUFFER_TOO_SMALL;
  switch (model_step_of(live->call->known)) {
    case STEP_WHOLE:
    case STEP_FINAL:
      if (!asked) end(s);
      break;
    case STEP_MESSAGE:
      if (!asked) restart(s);
      break;
    case STEP_BEGIN: restart(s); break;
    case STEP_NEXT:
      /* The last part is the one that the signature comes out of. */
      if (asked || live->rv != CKR_OK) break;
      if (signature_of(live, &bytes, &length))
        restart(s);
      else if (data_of(live, &bytes, &length))
        add(s, bytes, length);
      else
        s->lost = true;
      break;
    default: /* a part, alone or of a dual operation */
      if (live->rv != CKR_OK)
        end(s);
      else if (data_of(live, &bytes, &length))
        add(s, bytes, length);
      else
        s->lost = true;
      break;
  }
}

void verify_see(struct player *player, const struct live *live)
{
  struct verify *verify = verify_of(player);
  const int function = live->call->known, kind = kind_of(function);
  if (kind >= 0) {
    if (model_step_of(function) != STEP_INIT)
      go_on(verify, live, kind);
    else if (live->rv == CKR_OK)
      begin(verify, live, kind);
    return;
  }
  if (live->rv != CKR_OK) return;
  switch (function) {
    case P11_F_C_SetOperationState:
    case P11_F_C_SessionCancel: drop_session(table_take(&verify->sessions, live->v[0])); break;
    case P11_F_C_CloseSession:
      drop_session(table_take(&verify->sessions, live->v[0]));
      drop_session_keys(verify);
      break;
    case P11_F_C_CloseAllSessions:
      table_clear(&verify->sessions, drop_session);
      drop_session_keys(verify);
      break;
    case P11_F_C_InitToken:
    case P11_F_C_Finalize:
      table_clear(&verify->sessions, drop_session);
      table_clear(&verify->keys, verify_key_free);
      break;
    case P11_F_C_SetAttributeValue:
    case P11_F_C_DestroyObject: {
      const int object = find(live, P11_K_OBJECT);
      if (object >= 0) verify_key_free(table_take(&verify->keys, live->v[object]));
      break;
    }
    default: break;
  }
}
