/* messages MODULE
 *
 * Encrypts one message with AES-GCM, and one with a mechanism that nobody knows, whose parameter has the size of GCM's and
 * whose pointers lead nowhere. */
#include "p11client.h"

int main(int argc, char **argv)
{
  if (argc != 2) DIE("usage: messages MODULE");
  CK_FUNCTION_LIST_3_2_PTR p = module_newest(module_open(argv[1]));
  CK_SESSION_HANDLE session = 0;
  MUST(p->C_Initialize(NULL));
  CK_SLOT_ID slots[8];
  CK_ULONG count = 8;
  MUST(p->C_GetSlotList(CK_TRUE, slots, &count));
  MUST(p->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));

  CK_BYTE iv[12] = "initialvect", tag[16] = {0}, text[16] = "a secret payload", out[256];
  CK_GCM_MESSAGE_PARAMS gcm = {
      .pIv = iv, .ulIvLen = 12, .ulIvFixedBits = 32, .ivGenerator = CKG_NO_GENERATE, .pTag = tag, .ulTagBits = 128};
  CK_MECHANISM mechanism = {CKM_AES_GCM, NULL, 0};
  CK_ULONG length = sizeof out;
  MUST(p->C_MessageEncryptInit(session, &mechanism, 1));
  MUST(p->C_EncryptMessage(session, &gcm, sizeof gcm, NULL, 0, text, sizeof text, out, &length));

  CK_GCM_MESSAGE_PARAMS nowhere = {.pIv = (CK_BYTE *)8, .ulIvLen = 12, .pTag = (CK_BYTE *)16, .ulTagBits = 128};
  mechanism.mechanism = CKM_VENDOR_DEFINED | 77;
  length = sizeof out;
  MUST(p->C_MessageEncryptInit(session, &mechanism, 1));
  MUST(p->C_EncryptMessage(session, &nowhere, sizeof nowhere, NULL, 0, text, sizeof text, out, &length));
  MUST(p->C_Finalize(NULL));
  return 0;
}
