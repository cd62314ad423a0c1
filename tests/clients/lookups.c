/* lookups MODULE          every way of looking a symbol up, and what each answers: the same with the recorder preloaded
 * lookups many MODULE...  loads all modules at once and calls C_GetInfo of each, first to last and back
 * lookups reload N MODULE OTHER
 *                         loads and unloads the two in turn, N times, and calls C_GetInfo of each */
#include <errno.h>

#include "p11client.h"

static const char *relative(const void *address)
{
  static char text[512];
  Dl_info info;
  if (address == NULL) return "NULL";
  if (dladdr(address, &info) == 0) return "nowhere";
  const char *slash = strrchr(info.dli_fname, '/');
  snprintf(text, sizeof text, "in %s", slash ? slash + 1 : info.dli_fname);
  return text;
}

/* The answer: NULL or not, in which file where that is not ours to change, and the error that is left. */
static void look(const char *how, void *handle, const char *name, int in_which)
{
  dlerror();
  errno = 77;
  void *found = dlsym(handle, name);
  int after = errno;
  const char *error = dlerror();
  printf("%s %s: %s errno=%d error=%s\n", how, name,
         in_which ? relative(found)
         : found  ? "found"
                  : "NULL",
         after, error ? error : "none");
}

static void ways(const char *path)
{
  static const char *const names[] = {"C_GetFunctionList",
                                      "C_GetInterface",
                                      "C_GetInterfaceList",
                                      "NSC_GetFunctionList",
                                      "FC_GetInterface",
                                      "C_Initialize",
                                      "C_GetFunctionListing",
                                      "NSC_ModuleDBFunc",
                                      "FREEBL_GetVector",
                                      "C",
                                      "",
                                      "puts"};
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL), *program = dlopen(NULL, RTLD_NOW);
  if (module == NULL) DIE("%s", dlerror());
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    look("module", module, names[i], 0);
    look("default", RTLD_DEFAULT, names[i], strcmp(names[i], "puts") == 0);
    look("next", RTLD_NEXT, names[i], 1);
    look("program", program, names[i], strcmp(names[i], "puts") == 0);
  }
  puts(dlsym(module, "C_GetFunctionList") == dlsym(module, "C_GetFunctionList") ? "same" : "CHANGED");
  CK_FUNCTION_LIST_PTR a = module_list(path), b = NULL;
  MUST(a->C_GetFunctionList(&b));
  puts(a == b ? "same list" : "ANOTHER LIST");
  dlclose(module);
}

static void info_of(CK_FUNCTION_LIST_PTR list)
{
  CK_INFO info;
  MUST(list->C_GetInfo(&info));
}

static void many(int count, char **path)
{
  CK_FUNCTION_LIST_PTR list[64] = {NULL};
  for (int i = 0; i < count && i < 64; i++) {
    list[i] = module_list(path[i]);
    if (list[i] != module_list(path[i])) DIE("another list of %s", path[i]);
    MUST(list[i]->C_Initialize(NULL));
  }
  for (int i = 0; i < count; i++) info_of(list[i]);
  for (int i = count; i-- > 0;) info_of(list[i]);
  printf("%d modules\n", count);
}

static void reload(int times, const char *one, const char *other)
{
  for (int i = 0; i < times; i++) {
    struct module m = module_open(i % 2 ? other : one);
    CK_FUNCTION_LIST_PTR list;
    MUST(m.get_list(&list));
    MUST(list->C_Initialize(NULL));
    info_of(list);
    MUST(list->C_Finalize(NULL));
    if (dlclose(m.handle) != 0) DIE("dlclose: %s", dlerror());
  }
  printf("%d times\n", times);
}

int main(int argc, char **argv)
{
  if (argc == 2)
    ways(argv[1]);
  else if (argc > 2 && strcmp(argv[1], "many") == 0)
    many(argc - 2, argv + 2);
  else if (argc == 5 && strcmp(argv[1], "reload") == 0)
    reload(atoi(argv[2]), argv[3], argv[4]);
  else
    DIE("usage: lookups MODULE | many MODULE... | reload N MODULE OTHER");
  return 0;
}
