/* C_Initialize and C_Finalize: what they are given, and in which order they come. */
#include <inttypes.h>
#include <string.h>

#include "decoder/rules/rules.h"

enum { ALL_CALLBACKS = 15 };

static const struct finding_options whole = {.no_slot = true};
static const struct finding_options by_caller = {.no_slot = true, .fault = FAULT_CALLER};

/* No C_Initialize or C_Finalize, and nothing else that concerns the whole module, overlaps the call. */
static bool undisturbed(const struct model_module *m, const struct call *call)
{
  return !m->changing && m->changed < call->number;
}

static bool has_callbacks(const struct call *call)
{
  const struct value *args = &call->arg[0].in;
  return args->what == VALUE_INIT_ARGS && args->length != 0;
}

/* Text in the member after flags that is not for the recorder. */
static bool has_parameters(const struct call *call)
{
  const struct value *args = &call->arg[0].in;
  return args->what == VALUE_INIT_ARGS && args->shape != P11T_R_NULL && args->shape != P11T_R_OURS;
}

/* --- NSS-INIT-03 -------------------------------------------------------------------------------------------------- */

struct attempt {
  struct note refused;
  bool parameters;
};
static const struct kept_type threads_type = {sizeof(struct attempt), NULL};
static const struct kept_type parameters_type = {sizeof(struct attempt), NULL};

static bool refuses_threads(const struct call *call)
{
  const struct value *args = &call->arg[0].in;
  if (args->what != VALUE_INIT_ARGS || args->length != ALL_CALLBACKS || !(args->number & CKF_OS_LOCKING_OK))
    return false;
  switch (call->rv) {
    case CKR_CANT_LOCK:
    case CKR_NEED_TO_CREATE_THREADS:
    case CKR_GENERAL_ERROR: return true;
    case CKR_ARGUMENTS_BAD: return !has_parameters(call); /* else NSS-INIT-04 */
    default: return false;
  }
}

/* The standard, C_Initialize: "the library needs to use either the native operating system primitives or the supplied
 * function pointers for mutex-handling". NSS gives both, and tries once more for a single thread when that fails
 * (pk11load.c, secmod_ModuleInit). What fails both times fails for another reason. */
void rule_init_03(struct check *check, const struct call *call)
{
  struct attempt *a = kept_get(check->place.module->kept, &threads_type);
  char first[24], second[24];
  if (a && a->refused.number && a->refused.tid == call->tid && !has_callbacks(call)) {
    const bool clear = a->refused.rv == CKR_CANT_LOCK || a->refused.rv == CKR_NEED_TO_CREATE_THREADS;
    if (call->rv == CKR_OK || (clear && call->rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
      struct finding *f = finding_report_as(check, &whole, SEVERITY_WARNING, 0,
                                            "C_Initialize for several threads fails with %s; without it, it returns %s",
                                            note_rv(a->refused.rv, first), note_rv(call->rv, second));
      finding_note(f, &a->refused, "4 callbacks and CKF_OS_LOCKING_OK");
      finding_call(f, check, "no callbacks");
    }
  }
  if (a) a->refused = (struct note){0};
  if (!refuses_threads(call)) return;
  if (!a) a = kept_make(&check->place.module->kept, &threads_type);
  model_note(&check->place, &a->refused, call);
}

/* --- NSS-INIT-04 -------------------------------------------------------------------------------------------------- */

/* The standard, C_Initialize: "the value of pReserved thereby obtained MUST be NULL_PTR; if it's not, then C_Initialize
 * should return with the value CKR_ARGUMENTS_BAD". NSS has a member LibraryParameters there, and fills it from the
 * module's `parameters=`. Refusing them is right: then the configuration is wrong. softoken and p11-kit take them.
 * Another code, where the module starts without them, says that it misunderstood. */
void rule_init_04(struct check *check, const struct call *call)
{
  struct attempt *a = kept_get(check->place.module->kept, &parameters_type);
  char unknown[24];
  if (!has_parameters(call)) {
    if (a && a->refused.number && call->rv == CKR_OK) {
      struct finding *f = finding_report_as(
          check, &whole, SEVERITY_WARNING, 0,
          "C_Initialize with a parameter string fails with %s instead of CKR_ARGUMENTS_BAD, and succeeds without it",
          note_rv(a->refused.rv, unknown));
      finding_note(f, &a->refused, "with parameters");
      finding_call(f, check, NULL);
    }
    if (a) a->refused = (struct note){0};
    return;
  }
  switch (call->rv) {
    case CKR_ARGUMENTS_BAD: {
      struct finding *f =
          finding_report_as(check, &by_caller, SEVERITY_ERROR, 0,
                            "the module is configured with parameters, and refuses them: it is not there at all");
      finding_call(f, check, NULL);
      return;
    }
    case CKR_OK:
    case CKR_CRYPTOKI_ALREADY_INITIALIZED:
    case CKR_CANT_LOCK:
    case CKR_NEED_TO_CREATE_THREADS:
    case CKR_HOST_MEMORY: return;
    default:
      if (!a) a = kept_make(&check->place.module->kept, &parameters_type);
      model_note(&check->place, &a->refused, call);
  }
}

/* --- P11-INIT-05 -------------------------------------------------------------------------------------------------- */

struct early {
  struct note answered, used; /* a call before C_Initialize that succeeded; the first call of any answer */
};
static const struct kept_type early_type = {sizeof(struct early), NULL};

static bool may_come_first(int function)
{
  return function == P11_F_C_GetFunctionList || function == P11_F_C_GetInterfaceList ||
         function == P11_F_C_GetInterface;
}

/* Answers that say as little as CKR_CRYPTOKI_NOT_INITIALIZED and may be given before looking. */
static bool may_answer(const struct call *call)
{
  switch (call->rv) {
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_FUNCTION_NOT_PARALLEL:
    case CKR_HOST_MEMORY:
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED: return true;
    case CKR_ARGUMENTS_BAD:
      for (unsigned i = 0; i < call->info->arity; i++)
        if (pick_is_null(call, i)) return true;
      return false;
    default: return false;
  }
}

static void initialized(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  struct early *e = kept_get(m->kept, &early_type);
  struct finding *f;
  if (call->rv == CKR_OK && undisturbed(m, call)) {
    if (m->epoch == EPOCH_OPEN && m->initialized.number && !strstr(model_module_name(m), "p11-kit")) {
      f = finding_report_as(check, &whole, SEVERITY_ERROR, 1,
                            "C_Initialize succeeds twice, instead of CKR_CRYPTOKI_ALREADY_INITIALIZED");
      finding_note(f, &m->initialized, NULL);
      finding_call(f, check, NULL);
      finding_hint_proxy(f, check);
    } else if (m->epoch == EPOCH_UNKNOWN && e && e->answered.number) {
      /* It was not initialised by anybody else, or this C_Initialize would have said so. */
      f = finding_report_as(check, &whole, SEVERITY_ERROR, 2, "a function works before C_Initialize");
      finding_note(f, &e->answered, NULL);
      finding_call(f, check, NULL);
      finding_hint_proxy(f, check);
    }
    if (m->epoch == EPOCH_UNKNOWN && e && e->used.number) {
      f = finding_report_as(check, &by_caller, SEVERITY_INFO, 2,
                            "the application calls the module before C_Initialize");
      finding_note(f, &e->used, NULL);
      finding_call(f, check, NULL);
    }
  }
  kept_drop(&m->kept, &early_type);
}

/* After C_Finalize. */
static void closed(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  struct finding *f;
  char unknown[24];
  if (!may_answer(call)) {
    const bool ok = call->rv == CKR_OK;
    f = finding_report_as(check, &whole, ok ? SEVERITY_ERROR : SEVERITY_WARNING, ok ? 3 : 4,
                          "%s after C_Finalize returns %s instead of CKR_CRYPTOKI_NOT_INITIALIZED", call->info->name,
                          note_rv(call->rv, unknown));
    finding_note(f, &m->finalized, NULL);
    finding_call(f, check, NULL);
    finding_hint_proxy(f, check);
  }
  f = finding_report_as(check, &by_caller, SEVERITY_INFO, 3, "the application calls the module after C_Finalize");
  finding_note(f, &m->finalized, NULL);
  finding_call(f, check, NULL);
}

/* The standard, C_Initialize: it "should be the first Cryptoki call made by an application, except for calls to
 * C_GetFunctionList, C_GetInterfaceList, or C_GetInterface". Whether the module was initialised when the trace began is
 * not known until a C_Initialize says so. p11-kit's proxy counts its users and returns CKR_OK to each. */
void rule_init_05(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  if (call->known == P11_F_C_Initialize) {
    initialized(check, call);
    return;
  }
  if (m->epoch == EPOCH_OPEN || may_come_first(call->known)) return;
  if (m->epoch == EPOCH_CLOSED) {
    if (undisturbed(m, call)) closed(check, call);
    return;
  }
  if (call->known == P11_F_C_Finalize && call->rv == CKR_OK) {
    kept_drop(&m->kept, &early_type); /* who knows who began */
    return;
  }
  if (!undisturbed(m, call)) return;
  struct early *e = kept_make(&m->kept, &early_type);
  if (!e->used.number) model_note(&check->place, &e->used, call);
  if (!e->answered.number && call->rv == CKR_OK) model_note(&check->place, &e->answered, call);
}
