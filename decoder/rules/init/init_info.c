/* Loading, initialising and what a module says of itself. */
#include <inttypes.h>

#include "decoder/check/text.h"
#include "decoder/rules/rules.h"

/* FAQ, Q2: "NSS requires at least PKCS #11 version 2.0". pk11load.c refuses a smaller major version, and takes 2.0 for a
 * module that is not thread-safe. Mixed versions are legal: only a library older than all its lists is worth a word. */
void rule_init_06(struct check *check, const struct call *call)
{
  struct model_module *m = check->place.module;
  /* What was asked before C_Initialize, or after somebody else's, proves nothing. */
  if (m->asked_info || m->epoch != EPOCH_OPEN || m->changing || m->changed > call->number) return;
  const struct value *version = pick_member(call, 0, P11_S_CK_INFO, offsetof(CK_INFO, cryptokiVersion));
  const struct value *flags = pick_member(call, 0, P11_S_CK_INFO, offsetof(CK_INFO, flags));
  char unknown[24];
  struct finding *f = NULL;
  if (call->rv != CKR_OK) {
    if (pick_is_null(call, 0)) return;
    f = finding_report(check, SEVERITY_ERROR, 1, "the first C_GetInfo after C_Initialize fails with %s",
                       note_rv(call->rv, unknown));
  } else if (version && version->number < 0x200) {
    f = finding_report(check, SEVERITY_ERROR, 2, "the module reports cryptokiVersion %u.%u; NSS needs 2.0 or later",
                       (unsigned)(version->number >> 8), (unsigned)(version->number & 255));
  } else if (version && version->number == 0x200) {
    f = finding_report(check, SEVERITY_WARNING, 3,
                       "the module reports cryptokiVersion 2.0, which NSS takes for not thread-safe");
  } else if (flags && flags->number) {
    f = finding_report(check, SEVERITY_WARNING, 4, "CK_INFO has flags 0x%" PRIx64 ", which must be 0", flags->number);
  } else if (version && m->lowest_list && version->number < m->lowest_list) {
    f = finding_report(
        check, SEVERITY_INFO, 5, "the module reports cryptokiVersion %u.%u and hands out function lists of %u.%u",
        (unsigned)(version->number >> 8), (unsigned)(version->number & 255), m->lowest_list >> 8, m->lowest_list & 255);
  }
  finding_note(f, &m->initialized, NULL);
  finding_call(f, check, NULL);
}

/* The standard, CK_SLOT_INFO and CK_TOKEN_INFO: "MUST be padded with the blank character (' '). MUST NOT be
 * null-terminated." NSS strips blanks only (pk11slot.c, PK11_MakeString). What the module did not write is not judged: the
 * recorder does not prepare the caller's buffer. utcTime has a format of its own and is left out. */
void rule_init_07(struct check *check, const struct call *call)
{
  const unsigned index = call->known == P11_F_C_GetInfo ? 0 : 1;
  const struct value *info = &call->arg[index].out;
  const struct p11_struct *form = info->what == VALUE_STRUCT ? p11_struct_info(info->structure) : NULL;
  if (call->rv != CKR_OK || !form) return;
  for (size_t i = 0; i < info->count; i++) {
    const struct value *v = &info->item[i];
    const struct p11_field *field = v->member < form->count ? &form->field[v->member] : NULL;
    size_t where = 0;
    if (!field || field->kind != P11_FK_CHARS || field->is_volatile || v->what != VALUE_BYTES || v->form != P11T_V_FULL)
      continue;
    const enum text_fault fault = text_check(v->bytes, v->kept, &where);
    if (fault == TEXT_GOOD) continue;
    char text[400];
    struct finding *f = finding_report(check, SEVERITY_ERROR, (uint64_t)info->structure << 8 | v->member,
                                       "%s of %s holds %s at byte %zu of %zu", field->name, form->name,
                                       text_fault_name(fault), where, v->kept);
    finding_call(f, check, "%s = \"%s\"", field->name, show_bytes(v->bytes, v->kept, text, sizeof text));
  }
}
