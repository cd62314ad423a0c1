/* What the rules need to see and NSS's tools do not do.
 *
 *   check_client MODULE LABEL PIN ACTION ...
 *
 * The actions stand in a table below. Those of one group of rules are in a header of that group. */
#include "check_client.h"
#include "check_cert.h"
#include "check_find.h"
#include "check_init.h"
#include "check_login.h"
#include "check_mech.h"
#include "check_op.h"
#include "check_perf.h"
#include "check_sess.h"
#include "check_slot.h"
#include "check_state.h"

static void tour(void)
{
  const CK_SESSION_HANDLE ro = open_session(0), rw = open_session(CKF_RW_SESSION);
  state(ro);
  login(ro, pin);
  state(ro);
  state(rw);
  read_all(ro, CKO_CERTIFICATE);
  read_all(rw, CKO_PRIVATE_KEY);
  p11->C_Logout(rw);
  state(ro);
  MUST(p11->C_CloseSession(rw));
  MUST(p11->C_CloseSession(ro));
}

static void log_in_twice(const char *first)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, first);
  state(session);
  login(session, pin);
  state(session);
  p11->C_Logout(session);
  MUST(p11->C_CloseSession(session));
}

static void badpin(void)
{
  log_in_twice("not the PIN");
}

static void samepin(void)
{
  log_in_twice(pin);
}

static void ask_null(CK_BBOOL null_arguments)
{
  CK_SESSION_INFO info;
  open_session(0);
  p11->C_GetSessionInfo(0, null_arguments ? NULL : &info);
  p11->C_FindObjectsInit(0, NULL, 0);
  p11->C_FindObjectsFinal(0);
  p11->C_GetFunctionStatus(0);
}

static void null(void)
{
  ask_null(CK_FALSE);
}

static void nullargs(void)
{
  ask_null(CK_TRUE);
}

static void parallel(void)
{
  CK_SESSION_HANDLE session;
  p11->C_OpenSession(slot, CKF_RW_SESSION, NULL, NULL, &session);
}

static void labels(void)
{
  static CK_BYTE id[] = "no such key", subject[] = {0x30, 0x00}, value[] = {0x30, 0x03, 0x02, 0x01, 0x01};
  CK_OBJECT_CLASS class = CKO_CERTIFICATE;
  CK_CERTIFICATE_TYPE type = CKC_X_509;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,            &class,           sizeof class  },
      {CKA_CERTIFICATE_TYPE, &type,            sizeof type   },
      {CKA_TOKEN,            &no,              sizeof no     },
      {CKA_PRIVATE,          &no,              sizeof no     },
      {CKA_SUBJECT,          subject,          sizeof subject},
      {CKA_VALUE,            value,            sizeof value  },
      {CKA_ID,               id,               sizeof id     },
      {CKA_LABEL,            (void *)"blank ", 6             }
  };
  CK_OBJECT_HANDLE object;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  MUST(p11->C_CreateObject(session, what, 8, &object));
  read_object(session, object);
  MUST(p11->C_CreateObject(session, what, 7, &object));
  read_object(session, object);
}

static void removed(void)
{
  CK_SLOT_INFO info;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  MUST(p11->C_GetSlotInfo(slot, &info));
  state(session);
}

static atomic_int stop;

static void *log_in_and_out(void *session)
{
  for (int i = 0; i < 200; i++) {
    login(*(CK_SESSION_HANDLE *)session, pin);
    state(*(CK_SESSION_HANDLE *)session);
    p11->C_Logout(*(CK_SESSION_HANDLE *)session);
  }
  return NULL;
}

static void *ask(void *session)
{
  while (!stop) state(*(CK_SESSION_HANDLE *)session);
  return NULL;
}

static void *open_and_close(void *unused)
{
  while (!stop) {
    const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
    state(session);
    MUST(p11->C_CloseSession(session));
  }
  return unused;
}

static void threads(void)
{
  CK_SESSION_HANDLE session[4];
  pthread_t thread[5];
  for (int i = 0; i < 4; i++) session[i] = open_session(0);
  for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, i < 2 ? log_in_and_out : ask, &session[i]);
  pthread_create(&thread[4], NULL, open_and_close, NULL);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  stop = 1;
  for (int i = 2; i < 5; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < 4; i++) MUST(p11->C_CloseSession(session[i]));
}

static void forked(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const pid_t child = fork();
  if (child < 0) DIE("fork");
  if (child == 0) {
    CK_INFO info;
    CK_SESSION_INFO unused;
    p11->C_GetInfo(&info);
    p11->C_GetSessionInfo(session, &unused);
    p11->C_GetSessionInfo(0, &unused);
    p11->C_Initialize(NULL); /* OK or already initialised: modules differ */
    slot = (CK_SLOT_ID)-1;
    find_slot();
    tour();
    p11->C_Finalize(NULL);
    _exit(0);
  }
  int status;
  if (waitpid(child, &status, 0) != child || status != 0) DIE("the child ended with %d", status);
}

/* clang-format off */
static const struct {
  const char *name;
  void (*run)(void);
} actions[] = {
  {"tour",     tour    }, /* everything once, as an exemplary client would: informations, login, search, attributes, logout */
  {"badpin",   badpin  }, /* a wrong PIN, then the right one */
  {"samepin",  samepin }, /* the right PIN twice, with a logout between */
  {"null",     null    }, /* session functions with handle 0 */
  {"nullargs", nullargs}, /* the same, with a NULL buffer */
  {"parallel", parallel}, /* C_OpenSession without CKF_SERIAL_SESSION */
  {"label",    labels  }, /* certificates whose CKA_LABEL ends in a blank, and one without CKA_LABEL, made and read again */
  {"remove",   removed }, /* login, then the state of slot and session */
  {"threads",  threads }, /* two threads log in and out, two others ask for the state, a fifth opens and closes */
  {"searches", searches}, /* data, certificates and private keys, each search to its end, before, during and after a login */
  {"badsearches", bad_searches}, /* two searches at once, none, and one that is left */
  {"lookup",   lookup  }, /* reads a certificate and looks it up by what it has */
  {"friendly", friendly}, /* profiles, certificates and public keys without a login, certificates and private keys with one */
  {"movekey",  move_key}, /* reads the private exponent of a key */
  {"otherslot", other_slot}, /* signs with a key in a session of another slot */
  {"secret",   take_secret}, /* copies a secret key and reads it */
  {"namepair", name_pair}, /* makes a key pair and sets its CKA_ID to a name */
  {"twice", login_twice}, /* two logins, from two sessions */
  {"thrice", login_thrice}, /* three logins, whatever the state is */
  {"logouts", logout_twice}, /* a logout too many */
  {"lowpin", lowpin}, /* a wrong PIN and the right one, and the token's flags after each */
  {"logins", two_logins}, /* two threads log in at the same time */
  {"sign", signs}, /* a signature with each private key: see there */
  {"context", context}, /* C_Login(CKU_CONTEXT_SPECIFIC) without an operation */
  {"keys", search_twice}, /* private keys, before a login and after it */
  {"setpin", change_pin}, /* another PIN (the argument), and back again */
  {"badsetpin", bad_change}, /* C_SetPIN with a wrong PIN, with one that is too short, in a read-only session */
  {"firstpin", first_pin}, /* C_InitToken and C_InitPIN; the argument is the SO's PIN, as below */
  {"so", so_login}, /* the SO beside a read-only session, and the reverse */
  {"soalone", so_alone}, /* the SO without one, who gives the user a PIN */
  {"notso", not_so}, /* C_InitPIN without the SO, C_InitToken with a session open */
  {"pad", pad}, /* C_Login without a PIN */
  {"look", look}, /* certificates, without a login */
  {"write", writes}, /* a token object, made, changed and destroyed */
  {"sessions", many_sessions}, /* six sessions, and what the token tells of them */
  {"idle",     idle    }, /* ends a digest that was not begun */
  {"lengths",  lengths }, /* digests and signatures, with queries and buffers that are too small */
  {"random",   randoms }, /* random numbers, twice */
  {"verify",   verifies}, /* a right signature, then a wrong one */
  {"starved",  starved }, /* opens sessions, and if it cannot, saves what is at work in the first */
  {"closed",   closed_session}, /* uses a session after closing it, and opens another */
  {"shared",   shared  }, /* two threads digest in one session */
  {"kept",     kept    }, /* session objects of two sessions, of which one is closed */
  {"leaves",   leaves  }, /* ends with sessions open */
  {"rowrite",  read_only_writes}, /* makes a token object in a read-only session */
  {"objects", objects}, /* made in one session, read, changed and found through another, destroyed */
  {"secrets", secrets}, /* keys that can be taken out and that cannot: what they say, and whether they stay in */
  {"oldhandles", old_handles}, /* handles of what was destroyed, and of a private key after a logout */
  {"relogin", relogin}, /* a private key after a logout and the next login */
  {"mechanisms", mechanisms}, /* the list of mechanisms and what is said of each, before a login and after it */
  {"encrypt", encrypt}, /* AES-GCM with a new key; with an argument: without C_GetMechanismInfo before */
  {"pss", pss}, /* a signature as in TLS 1.3, and one with parameters that nobody uses */
  {"poll", poll_state}, /* what NSS asks once a second, thirty times */
  {"waitlogin", wait_for_login}, /* a session's state while another one logs in, four times */
  {"waitsign", wait_for_signature}, /* the same while another one signs */
  {"race", race}, /* signatures and searches, alone and then in four threads */
  {"states",   states_of_all}, /* what three sessions report before and after a login and a logout of the first */
  {"otherstate", states_of_others}, /* what another session reports after a login, then that which logged in */
  {"askinfo",  info_between}, /* C_GetTokenInfo while logged in */
  {"reopen",   after_last}, /* C_CloseAllSessions while logged in, another session, and then: see there */
  {"closeother", after_close}, /* opens and closes a session while another one is logged in */
  {"closedigest", operation_after_close}, /* the same while another one digests */
  {"samesetpin", after_setpin}, /* C_SetPIN while logged in */
  {"bothslots", state_of_other}, /* a login on one token; what the other one, the argument, reports */
  {"fork",     forked  }, /* a child uses what the parent has opened, and then does a tour of its own */
  /* check_init.h */
  {"double",   initialize_twice  }, /* C_Initialize again */
  {"finalized", use_after_finalize}, /* C_GetInfo and C_GetSlotList after C_Finalize */
  {"reinit",   initialize_anew   }, /* C_Finalize, C_Initialize, and the session of before */
  {"verify32", verify_signature  }, /* C_VerifySignatureInit, if the module has a list of 3.2 */
  /* check_slot.h */
  {"relist",   list_again        }, /* the slots once more */
  {"slots",    ask_slots         }, /* each slot of a list that was fetched without asking for its length */
  {"open",     open_thrice       }, /* looks at the slot and opens a session, three times */
  {"pull",     pull_card         }, /* login, then slot and session twice, then a new session */
  {"keep",     keep_session      }, /* asks for the state, and opens the session again when it is gone */
  {"wait2",    wait_twice        }, /* C_WaitForSlotEvent, twice */
  {"waits",    wait_in_a_loop    }, /* C_WaitForSlotEvent, eight times */
  {"endwait",  end_wait          }, /* C_Finalize while another thread waits */
  {"waiters",  wait_for_two      }, /* two threads wait */
  {"event",    wait_for_removal  }, /* a login while another thread waits for the card to be pulled */
};
/* clang-format on */

int main(int argc, char **argv)
{
  if (argc < 5) DIE("usage: %s MODULE LABEL PIN ACTION ...", argv[0]);
  CK_INFO info;
  CK_C_INITIALIZE_ARGS args = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
  size_t i = 0;
  while (i < sizeof actions / sizeof actions[0] && strcmp(actions[i].name, argv[4]) != 0) i++;
  if (i == sizeof actions / sizeof actions[0]) DIE("no action %s", argv[4]);
  p11 = module_list(argv[1]);
  module_path = argv[1];
  label = argv[2];
  pin = argv[3];
  more = argv + 5;
  slot = (CK_SLOT_ID)-1;
  MUST(p11->C_Initialize(&args));
  p11->C_GetInfo(&info);
  find_slot();
  actions[i].run();
  MUST(p11->C_Finalize(NULL));
  return 0;
}
