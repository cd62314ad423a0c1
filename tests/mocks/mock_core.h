/* A deterministic PKCS #11 module for the tests: what a careful vendor would write, and nothing else, so that whatever
 * differs between a run with the shim and one without it was done by the shim.
 *
 * One interpreter over functions.def serves all functions. In this order it
 *   refuses a call before C_Initialize, an unknown slot, an unknown session, a length above 1 MiB and a missing
 * pointer,
 *     without having touched any memory of the caller;
 *   reads every input once into a checksum;
 *   answers with bytes and numbers made from the checksum: the same inputs give the same outputs, on any machine.
 * Functions with an odd number set errno to 200 + number, the others leave it alone: both must reach the caller.
 *
 * The including file defines MOCK_SINCE (0x0228, 0x0300, 0x0302), the newest version whose functions it has.
 * Environment, read when the module is loaded; FN is a function's name:
 *   MOCK_NULLS=FN,FN     these are NULL in all function lists
 *   MOCK_BLOCK=MS        C_WaitForSlotEvent blocks until C_Finalize, at most MS milliseconds
 *   MOCK_HANG=FN         FN says "hang" on stderr and never returns (it can be cancelled)
 *   MOCK_CRASH=FN        FN writes to address 16
 *   MOCK_FORK=FN         FN forks; parent and child both return
 *   MOCK_NOTIFY=FN       FN calls the session's Notify callback, which may throw or jump
 *   MOCK_LIE=FN          FN succeeds with lengths 1,000 larger than what it wrote
 *   MOCK_OVERRUN=FN      FN writes 12 bytes more than there is room for into each of its buffers
 *   MOCK_SLOW=US         every function takes that long
 *   MOCK_FRAGILE=1       a card that forgets its key when it is asked anything between C_SignInit or C_DecryptInit and the end
 *                        of that: from then on these fail with CKR_USER_NOT_LOGGED_IN
 *   MOCK_REMOVE=1        every second C_GetSlotInfo, from the first on, says that there is no token
 *   MOCK_LIST=3          C_GetFunctionList gives the newest list, whatever its version
 *   MOCK_VERBOSE=1       says on stderr when it is loaded and unloaded */
#ifndef MOCK_CORE_H
#define MOCK_CORE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The tables are compiled into the module; hidden, or two modules in one process would share them. */
#pragma GCC visibility push(hidden)
#include "shim/spec/functions.c"
#include "shim/spec/structures.c"
#pragma GCC visibility pop

#define MOCK_LIMIT (1ul << 20) /* longest input, bytes or entries */
#define MOCK_SESSIONS 4096
#define MOCK_FIRST_SESSION 0x100
#define MOCK_SLOTS 2 /* slot ids 1 and 2 */

static atomic_int mock_initialized; /* static: a second load finds it clear only if the first was really unloaded */
static struct {
  atomic_int open;
  atomic_int key; /* it is used: MOCK_FRAGILE */
  int found;      /* objects that C_FindObjects has given */
  CK_NOTIFY notify;
  CK_VOID_PTR application;
} mock_session[MOCK_SESSIONS];

static struct {
  int hang, crash, fork, notify, lie, overrun, fragile, remove;
  long block, slow;
} mock_env;

/* FNV-1a: enough to make outputs depend on every byte of the inputs. */
static uint64_t mock_mix(uint64_t hash, const void *data, size_t size)
{
  const unsigned char *p = data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ p[i]) * 0x100000001b3ull;
  return hash;
}

static void mock_fill(void *to, size_t size, uint64_t seed)
{
  unsigned char *p = to;
  for (size_t i = 0; i < size; i++) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    p[i] = (unsigned char)(seed >> 56);
  }
}

static void mock_sleep(long us)
{
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, NULL);
}

/* --- inputs ----------------------------------------------------------------------------------------------------- */

static CK_RV mock_read_template(const CK_ATTRIBUTE *a, CK_ULONG count, uint64_t *hash)
{
  if (a == NULL && count > 0) return CKR_ARGUMENTS_BAD;
  for (CK_ULONG i = 0; i < count; i++) {
    if (a[i].ulValueLen > MOCK_LIMIT || (a[i].pValue == NULL && a[i].ulValueLen > 0))
      return CKR_ATTRIBUTE_VALUE_INVALID;
    *hash = mock_mix(*hash, &a[i].type, sizeof a[i].type);
    if (a[i].pValue != NULL) *hash = mock_mix(*hash, a[i].pValue, a[i].ulValueLen);
  }
  return CKR_OK;
}

/* A parameter with pointers in it has no checksum that is the same on every machine: only IVs are read. */
static CK_RV mock_read_mechanism(const CK_MECHANISM *m, uint64_t *hash)
{
  if (m->ulParameterLen > MOCK_LIMIT || (m->pParameter == NULL && m->ulParameterLen > 0))
    return CKR_MECHANISM_PARAM_INVALID;
  *hash = mock_mix(*hash, &m->mechanism, sizeof m->mechanism);
  *hash = mock_mix(*hash, &m->ulParameterLen, sizeof m->ulParameterLen);
  if (m->mechanism == CKM_AES_CBC || m->mechanism == CKM_AES_CBC_PAD)
    *hash = mock_mix(*hash, m->pParameter, m->ulParameterLen);
  return CKR_OK;
}

/* Slots, sessions and lengths: nothing here follows a pointer. */
static CK_RV mock_check_values(const struct p11_function_info *f, const uintptr_t *a)
{
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_SLOT && (a[i] < 1 || a[i] > MOCK_SLOTS)) return CKR_SLOT_ID_INVALID;
    if (f->param[i].kind == P11_K_SESSION) {
      uintptr_t s = a[i] - MOCK_FIRST_SESSION;
      if (s >= MOCK_SESSIONS || !atomic_load(&mock_session[s].open)) return CKR_SESSION_HANDLE_INVALID;
    }
  }
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_LENGTH && a[i] > MOCK_LIMIT) return CKR_DATA_LEN_RANGE;
  }
  return CKR_OK;
}

/* Pointers that the standard requires. NULL is an answer for buffers (length query) and for PINs (pinpad). */
static CK_RV mock_check_pointers(const struct p11_function_info *f, const uintptr_t *a)
{
  for (int i = 0; i < f->arity; i++) {
    const struct p11_param *p = &f->param[i];
    int missing = a[i] == 0;
    switch (p->kind) {
      case P11_K_STRING:
      case P11_K_CHARS:
      case P11_K_MECHANISM:
      case P11_K_OUT_LENGTH:
      case P11_K_OUT_NUMBER:
      case P11_K_OUT_FLAGS:
      case P11_K_OUT_SLOT:
      case P11_K_OUT_SESSION:
      case P11_K_OUT_OBJECT:
      case P11_K_OUT_STRUCT: break;
      case P11_K_IN_BYTES:
      case P11_K_MESSAGE_PARAM:
      case P11_K_OUT_BYTES_OF:
      case P11_K_OUT_OBJECTS:
      case P11_K_OUT_TEMPLATE: missing = a[i] == 0 && a[p->link - 1] > 0; break;
      default: missing = 0;
    }
    if (missing) return CKR_ARGUMENTS_BAD;
  }
  return CKR_OK;
}

static CK_RV mock_read(const struct p11_function_info *f, const uintptr_t *a, uint64_t *hash)
{
  CK_RV rv = CKR_OK;
  *hash = mock_mix(0xcbf29ce484222325ull, f->name, strlen(f->name));
  for (int i = 0; i < f->arity && rv == CKR_OK; i++) {
    const struct p11_param *p = &f->param[i];
    const void *pointer = (const void *)a[i];
    switch (p->kind) {
      case P11_K_TEMPLATE: rv = mock_read_template(pointer, a[p->link - 1], hash); break;
      case P11_K_MECHANISM: rv = mock_read_mechanism(pointer, hash); break;
      case P11_K_IN_BYTES:
      case P11_K_PIN:
        if (pointer != NULL) *hash = mock_mix(*hash, pointer, a[p->link - 1]);
        break;
      case P11_K_STRING: *hash = mock_mix(*hash, pointer, strlen(pointer)); break;
      case P11_K_CHARS: *hash = mock_mix(*hash, pointer, p->aux); break;
      case P11_K_NUMBER:
      case P11_K_ENUM:
      case P11_K_FLAGS:
      case P11_K_OBJECT:
      case P11_K_KEY: *hash = mock_mix(*hash, &a[i], sizeof a[i]); break;
      default: break;
    }
  }
  return rv;
}

/* --- outputs ---------------------------------------------------------------------------------------------------- */

/* The length of what a buffer gets: the sum of the input buffers and 16. */
static CK_ULONG mock_output_length(const struct p11_function_info *f, const uintptr_t *a)
{
  CK_ULONG sum = 16;
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_IN_BYTES) sum += a[f->param[i].link - 1];
  }
  return sum;
}

/* The two-call idiom, for buffers and lists alike. 1: there is room, fill it. */
static int mock_room(CK_ULONG_PTR length, const void *buffer, CK_ULONG need, CK_RV *rv)
{
  CK_ULONG have = *length;
  *length = need;
  if (buffer == NULL) return 0;
  if (have >= need) return 1;
  *rv = CKR_BUFFER_TOO_SMALL;
  return 0;
}

static CK_RV mock_write_attribute(CK_ATTRIBUTE *a, uint64_t hash)
{
  const CK_ULONG number = CKO_SECRET_KEY;
  CK_BBOOL yes = CK_TRUE;
  unsigned char bytes[24];
  const void *value = bytes;
  CK_ULONG size = sizeof bytes;
  mock_fill(bytes, sizeof bytes, hash ^ a->type);
  switch (a->type) {
    case CKA_CLASS:
    case CKA_KEY_TYPE:
      value = &number;
      size = sizeof number;
      break;
    case CKA_TOKEN:
    case CKA_PRIVATE:
    case CKA_SIGN:
      value = &yes;
      size = sizeof yes;
      break;
    case CKA_LABEL:
      value = "mock object";
      size = 11;
      break;
    case CKA_VALUE: a->ulValueLen = CK_UNAVAILABLE_INFORMATION; return CKR_ATTRIBUTE_SENSITIVE;
    default:
      if (a->type >= CKA_VENDOR_DEFINED) {
        a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
        return CKR_ATTRIBUTE_TYPE_INVALID;
      }
  }
  CK_ULONG have = a->ulValueLen;
  a->ulValueLen = size;
  if (a->pValue == NULL) return CKR_OK;
  if (have < size) {
    a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  memcpy(a->pValue, value, size);
  return CKR_OK;
}

/* Member by member: the padding of the caller's structure stays as it was. */
static void mock_write_struct(void *to, unsigned number)
{
  const struct p11_struct *s = p11_struct_info(number);
  for (unsigned i = 0; i < s->count; i++) {
    unsigned char *at = (unsigned char *)to + s->field[i].offset;
    CK_ULONG value = s->field[i].kind == P11_FK_FLAGS ? 1 : s->field[i].kind == P11_FK_ENUM ? 3 : 40 + i;
    switch (s->field[i].kind) {
      case P11_FK_CHARS:
        memset(at, ' ', s->field[i].size);
        memcpy(at, s->field[i].name, strnlen(s->field[i].name, s->field[i].size));
        break;
      case P11_FK_VERSION:
        at[0] = 3;
        at[1] = (unsigned char)i;
        break;
      case P11_FK_NUMBER:
      case P11_FK_ENUM:
      case P11_FK_FLAGS:
      case P11_FK_SLOT: memcpy(at, &value, s->field[i].size); break;
      default: memset(at, 0, s->field[i].size);
    }
  }
}

static const CK_MECHANISM_TYPE mock_mechanisms[] = {CKM_RSA_PKCS, CKM_AES_CBC, CKM_SHA256, CKM_ECDSA, 0x80001234ul};
#define MOCK_MECHANISMS (sizeof mock_mechanisms / sizeof mock_mechanisms[0])

static CK_RV mock_write_list(const struct p11_param *p, const uintptr_t *a, uintptr_t list)
{
  CK_RV rv = CKR_OK;
  CK_ULONG_PTR count = (CK_ULONG_PTR)a[p->link - 1];
  if (p->kind == P11_K_OUT_SLOTS) {
    if (mock_room(count, (void *)list, MOCK_SLOTS, &rv)) {
      for (CK_ULONG i = 0; i < MOCK_SLOTS; i++) ((CK_SLOT_ID_PTR)list)[i] = i + 1;
    }
  } else if (mock_room(count, (void *)list, MOCK_MECHANISMS, &rv)) {
    memcpy((void *)list, mock_mechanisms, sizeof mock_mechanisms);
  }
  return rv;
}

/* Three objects per search. */
static void mock_find(const struct p11_param *p, const uintptr_t *a, uintptr_t list)
{
  int *found = &mock_session[a[0] - MOCK_FIRST_SESSION].found;
  CK_ULONG room = a[p->link - 1], n = 0;
  for (; n < room && *found < 3; n++) ((CK_OBJECT_HANDLE_PTR)list)[n] = 0x70 + (CK_ULONG)(*found)++;
  *(CK_ULONG_PTR)a[p->aux - 1] = n;
}

static CK_RV mock_open(const uintptr_t *a, CK_SESSION_HANDLE_PTR session)
{
  if (!(a[1] & CKF_SERIAL_SESSION)) return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
  for (int i = 0; i < MOCK_SESSIONS; i++) {
    int closed = 0;
    if (!atomic_compare_exchange_strong(&mock_session[i].open, &closed, 1)) continue;
    mock_session[i].found = 0;
    mock_session[i].application = (CK_VOID_PTR)a[2];
    mock_session[i].notify = (CK_NOTIFY)a[3];
    *session = MOCK_FIRST_SESSION + (CK_ULONG)i;
    return CKR_OK;
  }
  return CKR_SESSION_COUNT;
}

static CK_RV mock_write(int fn, const uintptr_t *a, uint64_t hash)
{
  const struct p11_function_info *f = &p11_functions[fn];
  CK_RV rv = CKR_OK;
  /* Either every buffer has room or nothing is written but the lengths. */
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind != P11_K_OUT_BYTES) continue;
    if (!mock_room((CK_ULONG_PTR)a[f->param[i].link - 1], (void *)a[i], mock_output_length(f, a), &rv)) return rv;
  }
  for (int i = 0; i < f->arity; i++) {
    const struct p11_param *p = &f->param[i];
    void *to = (void *)a[i];
    CK_RV one = CKR_OK;
    switch (p->kind) {
      case P11_K_OUT_BYTES: mock_fill(to, mock_output_length(f, a), hash); break;
      case P11_K_OUT_BYTES_OF: mock_fill(to, a[p->link - 1], hash); break;
      case P11_K_OUT_SLOTS:
      case P11_K_OUT_MECHANISMS: one = mock_write_list(p, a, a[i]); break;
      case P11_K_OUT_OBJECTS: mock_find(p, a, a[i]); break;
      case P11_K_OUT_NUMBER:
        if (fn != P11_F_C_FindObjects) *(CK_ULONG_PTR)to = hash & 0xffff;
        break;
      case P11_K_OUT_FLAGS: *(CK_FLAGS *)to = hash & 0xff; break;
      case P11_K_OUT_SLOT: *(CK_SLOT_ID_PTR)to = 2; break;
      case P11_K_OUT_OBJECT: *(CK_OBJECT_HANDLE_PTR)to = hash % 1000000 + 1; break;
      case P11_K_OUT_SESSION: one = mock_open(a, to); break;
      case P11_K_OUT_STRUCT: mock_write_struct(to, p->aux); break;
      case P11_K_OUT_TEMPLATE:
        for (CK_ULONG k = 0; k < a[p->link - 1]; k++) {
          CK_RV attribute = mock_write_attribute((CK_ATTRIBUTE_PTR)to + k, hash);
          if (attribute != CKR_OK) one = attribute;
        }
        break;
      default: break;
    }
    if (one != CKR_OK) rv = one;
  }
  return rv;
}

/* --- what the environment asks for ------------------------------------------------------------------------------ */

static void mock_misbehave(int fn)
{
  if (mock_env.slow) mock_sleep(mock_env.slow);
  if (fn == mock_env.hang) {
    if (write(2, "hang\n", 5) != 5) abort();
    for (;;) pause();
  }
  if (fn == mock_env.crash) {
    int *volatile nowhere = (int *)(uintptr_t)16;
    *nowhere = 0;
  }
  if (fn == mock_env.fork && fork() < 0) abort();
}

static void mock_lie(const struct p11_function_info *f, const uintptr_t *a)
{
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_OUT_LENGTH || f->param[i].kind == P11_K_OUT_NUMBER) *(CK_ULONG_PTR)a[i] += 1000;
    if (f->param[i].kind != P11_K_OUT_TEMPLATE) continue;
    for (CK_ULONG k = 0; k < a[f->param[i].link - 1]; k++) ((CK_ATTRIBUTE_PTR)a[i])[k].ulValueLen += 1000;
  }
}

/* Into buffers of bytes and values of attributes; `room` has what there was for each parameter. */
static void mock_overrun(const struct p11_function_info *f, const uintptr_t *a, const CK_ULONG *room)
{
  for (int i = 0; i < f->arity; i++) {
    if (a[i] != 0 && f->param[i].kind == P11_K_OUT_BYTES) memset((char *)a[i] + room[f->param[i].link - 1], 0xee, 12);
    if (a[i] != 0 && f->param[i].kind == P11_K_OUT_STRUCT)
      memset((char *)a[i] + p11_struct_info(f->param[i].aux)->size, 0xee, 12);
    if (f->param[i].kind != P11_K_OUT_TEMPLATE) continue;
    for (CK_ULONG k = 0; k < a[f->param[i].link - 1]; k++) {
      CK_ATTRIBUTE_PTR one = (CK_ATTRIBUTE_PTR)a[i] + k; /* one that was filled exactly */
      if (one->type == CKA_TOKEN && one->pValue != NULL) memset((char *)one->pValue + one->ulValueLen, 0xee, 12);
    }
  }
}

/* Three counters, without a lock: a question that begins while a key is used, or the other way round, is seen by whichever of
 * the two comes second. */
static atomic_int mock_keys, mock_questions, mock_broken;

static void mock_use_key(atomic_int *key, int now)
{
  int before = atomic_exchange(key, now);
  atomic_fetch_add(&mock_keys, now - before);
  if (now && atomic_load(&mock_questions) > 0) atomic_store(&mock_broken, 1);
}

/* Questions are what the recorder asks: an application that looks for more than one object asks none. */
static int mock_asks(int fn, const uintptr_t *a)
{
  return fn == P11_F_C_GetSessionInfo || fn == P11_F_C_GetAttributeValue || (fn == P11_F_C_FindObjects && a[2] == 1);
}

static void mock_card_begin(int fn, const uintptr_t *a)
{
  if (fn == P11_F_C_SignInit || fn == P11_F_C_DecryptInit)
    mock_use_key(&mock_session[a[0] - MOCK_FIRST_SESSION].key, a[1] != 0);
  if (!mock_asks(fn, a)) return;
  atomic_fetch_add(&mock_questions, 1);
  if (atomic_load(&mock_keys) > 0) atomic_store(&mock_broken, 1);
}

static CK_RV mock_card_end(int fn, const uintptr_t *a, CK_RV rv)
{
  if (mock_asks(fn, a)) atomic_fetch_sub(&mock_questions, 1);
  int ends = fn == P11_F_C_Sign || fn == P11_F_C_Decrypt ? a[3] != 0 : 0;
  if (fn == P11_F_C_SignFinal || fn == P11_F_C_DecryptFinal) ends = a[1] != 0;
  if (!ends) return rv;
  mock_use_key(&mock_session[a[0] - MOCK_FIRST_SESSION].key, 0);
  return rv == CKR_OK && atomic_load(&mock_broken) ? CKR_USER_NOT_LOGGED_IN : rv;
}

/* --- functions that have a state -------------------------------------------------------------------------------- */

static CK_RV mock_initialize(const CK_C_INITIALIZE_ARGS *args)
{
  if (args != NULL && (args->CreateMutex == NULL) != (args->LockMutex == NULL)) return CKR_ARGUMENTS_BAD;
  int no = 0;
  return atomic_compare_exchange_strong(&mock_initialized, &no, 1) ? CKR_OK : CKR_CRYPTOKI_ALREADY_INITIALIZED;
}

static void mock_close_all(void)
{
  for (int i = 0; i < MOCK_SESSIONS; i++) atomic_store(&mock_session[i].open, 0);
}

static CK_RV mock_state(int fn, const uintptr_t *a)
{
  switch (fn) {
    case P11_F_C_Finalize:
      if (a[0] != 0) return CKR_ARGUMENTS_BAD;
      mock_close_all();
      atomic_store(&mock_initialized, 0);
      return CKR_OK;
    case P11_F_C_CloseAllSessions: mock_close_all(); return CKR_OK;
    case P11_F_C_CloseSession: atomic_store(&mock_session[a[0] - MOCK_FIRST_SESSION].open, 0); return CKR_OK;
    case P11_F_C_FindObjectsInit: mock_session[a[0] - MOCK_FIRST_SESSION].found = 0; return CKR_OK;
    case P11_F_C_GetFunctionStatus:
    case P11_F_C_CancelFunction: return CKR_FUNCTION_NOT_PARALLEL;
    case P11_F_C_WaitForSlotEvent:
      if (mock_env.block == 0) return a[0] & CKF_DONT_BLOCK ? CKR_NO_EVENT : CKR_OK;
      for (long ms = 0; ms < mock_env.block && atomic_load(&mock_initialized); ms++) mock_sleep(1000);
      return atomic_load(&mock_initialized) ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED;
    default: return CKR_OK;
  }
}

static CK_RV mock_notify(const uintptr_t *a)
{
  uintptr_t s = a[0] - MOCK_FIRST_SESSION;
  if (mock_session[s].notify == NULL) return CKR_OK;
  return mock_session[s].notify(a[0], CKN_SURRENDER, mock_session[s].application) == CKR_OK ? CKR_OK
                                                                                            : CKR_FUNCTION_CANCELED;
}

static CK_RV mock_answer(int fn, const uintptr_t *a)
{
  const struct p11_function_info *f = &p11_functions[fn];
  uint64_t hash = 0;
  if (fn == P11_F_C_Initialize) return mock_initialize((const CK_C_INITIALIZE_ARGS *)a[0]);
  if (!atomic_load(&mock_initialized)) return CKR_CRYPTOKI_NOT_INITIALIZED;
  CK_RV rv = mock_check_values(f, a);
  if (rv == CKR_OK) rv = mock_check_pointers(f, a);
  if (rv == CKR_OK) rv = mock_read(f, a, &hash);
  int card = mock_env.fragile && rv == CKR_OK;
  if (card) mock_card_begin(fn, a);
  mock_misbehave(fn);
  if (rv == CKR_OK && fn == mock_env.notify) rv = mock_notify(a);
  if (rv == CKR_OK) rv = mock_state(fn, a);
  CK_ULONG room[10] = {0};
  for (int i = 0; i < f->arity && rv == CKR_OK && fn == mock_env.overrun; i++) {
    if (f->param[i].kind == P11_K_OUT_LENGTH) room[i] = *(CK_ULONG_PTR)a[i];
  }
  if (rv == CKR_OK) rv = mock_write(fn, a, hash);
  if (fn == mock_env.overrun) mock_overrun(f, a, room);
  if (rv == CKR_OK && fn == mock_env.lie) mock_lie(f, a);
  if (rv == CKR_OK && fn == P11_F_C_GetSlotInfo && mock_env.remove && mock_env.remove++ % 2)
    ((CK_SLOT_INFO_PTR)a[1])->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  return card ? mock_card_end(fn, a, rv) : rv;
}

static CK_RV mock_call(int fn, const uintptr_t *a)
{
  int before = errno;
  CK_RV rv = mock_answer(fn, a);
  errno = fn % 2 ? 200 + fn : before;
  return rv;
}

#include "mock_lists.h"
#endif
