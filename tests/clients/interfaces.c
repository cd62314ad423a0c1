/* interfaces MODULE
 *
 * Prints all that C_GetFunctionList, C_GetInterfaceList and C_GetInterface answer: for every name, version and flag
 * asked,
 * what comes back, which functions of the list are NULL, and whether the same question gives the same pointer. */
#include <stdbool.h>
#include <stdint.h>

#include "p11client.h"
#include "shim/spec/functions.c"

/* Functions of a list of that version; 0 when the version is none of ours. */
static int functions_of(const CK_VERSION *v)
{
  int version = v->major * 256 + v->minor, n = 0;
  if (version != P11_V2_40 && version != P11_V3_0 && version != P11_V3_2) return 0;
  while (n < P11_FUNCTIONS && p11_functions[n].since <= version) n++;
  return n;
}

/* The list's version, its NULL slots and, as a sign of life, what its C_GetInfo answers before C_Initialize. */
static void print_list(const char *name, void *list)
{
  CK_VERSION *v = list;
  CK_VOID_PTR *slot = (CK_VOID_PTR *)((char *)list + offsetof(CK_FUNCTION_LIST, C_Initialize));
  CK_INFO info;
  printf(" %d.%d", v->major, v->minor);
  if (strcmp(name, "PKCS 11") == 0) {
    for (int i = 0; i < functions_of(v); i++) {
      if (slot[i] == NULL) printf(" NULL:%s", p11_functions[i].name);
    }
    if (((CK_FUNCTION_LIST_PTR)list)->C_GetInfo != NULL)
      printf(" C_GetInfo=0x%lx", ((CK_FUNCTION_LIST_PTR)list)->C_GetInfo(&info));
  } else if (strcmp(name, "Vendor Acme") == 0) {
    printf(" answer=%d", (*(int (**)(int))(void *)slot)(7));
  } else if (strcmp(name, "Vendor NSS FIPS Interface") == 0) {
    CK_ULONG status = 0;
    CK_RV rv =
        (*(CK_RV(**)(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ULONG, CK_ULONG_PTR))(void *)slot)(3, 4, 5, &status);
    printf(" status=0x%lx,%lu", rv, status);
  }
}

static void print_interface_list(struct module *m)
{
  CK_INTERFACE list[16];
  CK_ULONG count = 77;
  CK_RV rv = m->get_interfaces(NULL, &count);
  printf("C_GetInterfaceList NULL 0x%lx count=%lu\n", rv, count);
  printf("C_GetInterfaceList NULL NULL 0x%lx\n", m->get_interfaces(NULL, NULL));
  printf("C_GetInterfaceList list NULL 0x%lx\n", m->get_interfaces(list, NULL));
  for (CK_ULONG room = 0; room < 7; room++) {
    count = room;
    memset(list, 0, sizeof list);
    rv = m->get_interfaces(list, &count);
    printf("C_GetInterfaceList room=%lu 0x%lx count=%lu\n", room, rv, count);
    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++) {
      printf("  \"%s\" flags=0x%lx", (char *)list[i].pInterfaceName, list[i].flags);
      print_list((char *)list[i].pInterfaceName, list[i].pFunctionList);
      putchar('\n');
    }
    if (rv != CKR_OK && list[0].pFunctionList != NULL) puts("  written in spite of the error");
  }
}

static void ask(struct module *m, const char *name, CK_VERSION *version, CK_FLAGS flags)
{
  CK_INTERFACE_PTR first = NULL, second = NULL;
  CK_RV rv = m->get_interface((CK_UTF8CHAR_PTR)(uintptr_t)name, version, &first, flags);
  char asked[16] = "any";
  if (version != NULL) snprintf(asked, sizeof asked, "%d.%d", version->major, version->minor);
  printf("C_GetInterface %s %s flags=0x%lx 0x%lx", name ? name : "NULL", asked, flags, rv);
  if (rv == CKR_OK) {
    printf(" \"%s\" flags=0x%lx", (char *)first->pInterfaceName, first->flags);
    print_list((char *)first->pInterfaceName, first->pFunctionList);
    MUST(m->get_interface((CK_UTF8CHAR_PTR)(uintptr_t)name, version, &second, flags));
    if (second->pFunctionList != first->pFunctionList) printf(" ANOTHER LIST");
  } else if (first != NULL) {
    printf(" written in spite of the error");
  }
  putchar('\n');
}

int main(int argc, char **argv)
{
  static const char *const names[] = {NULL,
                                      "PKCS 11",
                                      "pkcs 11",
                                      "PKCS 1",
                                      "",
                                      "Vendor NSS FIPS Interface",
                                      "Vendor Acme",
                                      "Vendor NSS Module Interface",
                                      "nobody's"};
  static CK_VERSION versions[] = {
      {2, 40},
      {3, 0 },
      {3, 1 },
      {3, 2 },
      {9, 9 },
      {1, 0 },
      {0, 0 }
  };
  static const CK_FLAGS flags[] = {0, CKF_INTERFACE_FORK_SAFE, 0x80000000ul, 0x80000001ul, 2, ~0ul};
  CK_FUNCTION_LIST_PTR list = NULL, again = NULL;
  if (argc != 2) DIE("usage: interfaces MODULE");
  struct module m = module_open(argv[1]);

  printf("C_GetFunctionList NULL 0x%lx\n", m.get_list(NULL));
  MUST(m.get_list(&list));
  MUST(m.get_list(&again));
  printf("C_GetFunctionList %s", list == again ? "" : "ANOTHER LIST");
  print_list("PKCS 11", list);
  printf("\nC_GetFunctionList in the list 0x%lx %s\n", list->C_GetFunctionList(&again),
         list == again ? "" : "ANOTHER LIST");
  if (m.get_interfaces == NULL || m.get_interface == NULL) {
    puts("no C_GetInterface");
    return 0;
  }
  print_interface_list(&m);
  printf("C_GetInterface without a place 0x%lx\n", m.get_interface(NULL, NULL, NULL, 0));
  for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
    for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++) {
      ask(&m, names[n], NULL, flags[f]);
      for (size_t v = 0; v < sizeof versions / sizeof versions[0]; v++) ask(&m, names[n], &versions[v], flags[f]);
    }
  }
  return 0;
}
