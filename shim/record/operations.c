#include "shim/record/operations.h"

enum what { NONE, BEGINS, ANSWERS, ENDS }; /* ANSWERS: and ends, unless it was asked for the length or had no room */

/* clang-format off */
static const struct {
  uint8_t what;
  uint32_t operation;
} effect[P11_FUNCTIONS] = {
    [P11_F_C_FindObjectsInit] = {BEGINS, CKF_FIND_OBJECTS},
    [P11_F_C_FindObjectsFinal] = {ENDS, CKF_FIND_OBJECTS},
    [P11_F_C_EncryptInit] = {BEGINS, CKF_ENCRYPT},
    [P11_F_C_Encrypt] = {ANSWERS, CKF_ENCRYPT},
    [P11_F_C_EncryptFinal] = {ANSWERS, CKF_ENCRYPT},
    [P11_F_C_DecryptInit] = {BEGINS, CKF_DECRYPT},
    [P11_F_C_Decrypt] = {ANSWERS, CKF_DECRYPT},
    [P11_F_C_DecryptFinal] = {ANSWERS, CKF_DECRYPT},
    [P11_F_C_DigestInit] = {BEGINS, CKF_DIGEST},
    [P11_F_C_Digest] = {ANSWERS, CKF_DIGEST},
    [P11_F_C_DigestFinal] = {ANSWERS, CKF_DIGEST},
    [P11_F_C_SignInit] = {BEGINS, CKF_SIGN},
    [P11_F_C_Sign] = {ANSWERS, CKF_SIGN},
    [P11_F_C_SignFinal] = {ANSWERS, CKF_SIGN},
    [P11_F_C_SignRecoverInit] = {BEGINS, CKF_SIGN_RECOVER},
    [P11_F_C_SignRecover] = {ANSWERS, CKF_SIGN_RECOVER},
    [P11_F_C_VerifyInit] = {BEGINS, CKF_VERIFY},
    [P11_F_C_Verify] = {ENDS, CKF_VERIFY},
    [P11_F_C_VerifyFinal] = {ENDS, CKF_VERIFY},
    [P11_F_C_VerifyRecoverInit] = {BEGINS, CKF_VERIFY_RECOVER},
    [P11_F_C_VerifyRecover] = {ANSWERS, CKF_VERIFY_RECOVER},
    [P11_F_C_VerifySignatureInit] = {BEGINS, CKF_VERIFY},
    [P11_F_C_VerifySignature] = {ENDS, CKF_VERIFY},
    [P11_F_C_VerifySignatureFinal] = {ENDS, CKF_VERIFY},
    [P11_F_C_MessageEncryptInit] = {BEGINS, CKF_MESSAGE_ENCRYPT},
    [P11_F_C_MessageEncryptFinal] = {ENDS, CKF_MESSAGE_ENCRYPT},
    [P11_F_C_MessageDecryptInit] = {BEGINS, CKF_MESSAGE_DECRYPT},
    [P11_F_C_MessageDecryptFinal] = {ENDS, CKF_MESSAGE_DECRYPT},
    [P11_F_C_MessageSignInit] = {BEGINS, CKF_MESSAGE_SIGN},
    [P11_F_C_MessageSignFinal] = {ENDS, CKF_MESSAGE_SIGN},
    [P11_F_C_MessageVerifyInit] = {BEGINS, CKF_MESSAGE_VERIFY},
    [P11_F_C_MessageVerifyFinal] = {ENDS, CKF_MESSAGE_VERIFY},
    [P11_F_C_SetOperationState] = {BEGINS, P11T_OPERATION_SOME},
};
/* clang-format on */

unsigned p11t_operation_begins(unsigned function, const uint64_t *v)
{
  if (function == P11_F_C_Login || function == P11_F_C_LoginUser)
    return v[1] == CKU_CONTEXT_SPECIFIC ? P11T_OPERATION_CONTEXT : 0;
  return effect[function].what == BEGINS ? effect[function].operation : 0;
}

/* A NULL buffer asks for the length. */
static bool asks_length(unsigned function, const uint64_t *v)
{
  const struct p11_function_info *f = &p11_functions[function];
  for (unsigned i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_OUT_BYTES && v[i] == 0) return true;
  }
  return false;
}

/* A context login is for one use of the key. */
static unsigned ended(unsigned operation)
{
  return operation | P11T_OPERATION_SOME | (operation & P11T_OPERATION_KEY ? P11T_OPERATION_CONTEXT : 0);
}

unsigned p11t_operation_after(unsigned function, const uint64_t *v, uint64_t rv, unsigned active, unsigned begun)
{
  if (rv == CKR_PENDING) return active;
  if (function == P11_F_C_SessionCancel) return rv == CKR_OK ? active & ~ended((unsigned)v[1]) : active;
  switch (effect[function].what) {
    case NONE: break;
    case BEGINS: /* since 3.0 without a mechanism (v[1]) it ends what is active */
      if (rv == CKR_OK && v[1] == 0 && function != P11_F_C_FindObjectsInit)
        return active & ~ended(effect[function].operation);
      break;
    case ANSWERS:
      if (rv != CKR_BUFFER_TOO_SMALL && (rv != CKR_OK || !asks_length(function, v)))
        return active & ~ended(effect[function].operation);
      break;
    case ENDS: return active & ~ended(effect[function].operation);
  }
  return rv == CKR_OK || rv == CKR_OPERATION_ACTIVE ? active : active & ~begun;
}
