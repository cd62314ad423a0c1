/* What stands before and behind the calls: what the header may lack, variables, how the module is loaded. */
#include <inttypes.h>
#include <string.h>

#include "decoder/emit/emit_part.h"

static void head(struct emit *e, struct text *out)
{
  const char *name = e->process->path ? strrchr(e->process->path, '/') : NULL;
  name = name ? name + 1 : e->process->path ? e->process->path : "a trace";
  text_s(out,
         "/* Makes the calls that an application made on a PKCS #11 module, and says which answers differ.\n *\n"
         " *   cc $(pkg-config --cflags p11-kit-1) -o repro repro.c -ldl\n *   ./repro MODULE.so [PIN]");
  if (e->use.so_pin) text_s(out, " [so=SO-PIN]");
  if (e->slots.count) text_s(out, " [slot=NUMBER]...");
  if (e->use.parameters) text_s(out, " [parameters=TEXT]");
  if (e->use.wrong) text_s(out, " [wrong-pins]");
  text_s(out, "\n *\n * PIN is the user's");
  if (e->use.so_pin) text_s(out, ", SO-PIN the security officer's");
  text_s(out, ". Exit status: 0 all answers are as recorded, 1 not, 2 it could not.\n");
  if (e->slots.count)
    text_s(out,
           " * slot= is used in place of the program's first slot, a second one in place of its second, and so on.\n");
  if (e->use.parameters) text_s(out, " * parameters= is the text that C_Initialize is given behind its flags.\n");
  if (e->use.wrong)
    text_s(out, " * Logins with a wrong PIN cost the token tries: they are made only with wrong-pins.\n");
  text_s(out, " *\n * Made by p11trace emit-c from ");
  text_escaped(out, name, strlen(name), "*/");
  text_s(out, ", program ");
  text_escaped(out, e->process->program, strlen(e->process->program), "*/");
  text_s(out, ", module ");
  const char *module = strrchr(e->module, '/') ? strrchr(e->module, '/') + 1 : e->module;
  text_escaped(out, module, strlen(module), "*/");
  arena_reset(&e->arena);
  text_s(out, emit_format(e, ":\n * %" PRIu64 " calls, %" PRIu64 " of them chosen", e->calls + e->left_out, e->chosen));
  if (e->chosen < e->calls + e->left_out) text_s(out, ", the others needed by those");
  if (e->left_out) text_s(out, emit_format(e, ", %" PRIu64 " left out", e->left_out));
  text_s(out, ". No PIN and no key is in this text");
  if (e->stand_ins)
    text_s(out, emit_format(e,
                            ";\n * %" PRIu64
                            " calls have stand-ins for bytes that were not recorded, and may answer otherwise for that",
                            e->stand_ins));
  text_s(out, ".\n");
  if (e->changing)
    text_s(out, emit_format(e, " * %" PRIu64 " calls make, change or destroy objects or PINs.\n", e->changing));
  text_s(out, " */\n");
}

static void constants(struct emit *e, struct text *out)
{
  if (e->constants.count) text_s(out, "\n/* What the header may lack. */\n");
  for (size_t i = 0; i < e->constants.count; i++) {
    const char *name = (const char *)(uintptr_t)e->constants.at[i];
    uint64_t value = 0;
    p11_constant_value(name, &value);
    arena_reset(&e->arena);
    text_s(out, emit_format(e, "#ifndef %s\n#define %s 0x%" PRIx64 "UL\n#endif\n", name, name, value));
  }
}

static const char *const member_type[] = {
    [P11_FK_NUMBER] = "CK_ULONG ",
    [P11_FK_ENUM] = "CK_ULONG ",
    [P11_FK_FLAGS] = "CK_FLAGS ",
    [P11_FK_BOOL] = "CK_BBOOL ",
    [P11_FK_HANDLE] = "CK_OBJECT_HANDLE ",
    [P11_FK_CHARS] = "CK_BYTE ",
    [P11_FK_ARRAY] = "CK_BYTE ",
    [P11_FK_VERSION] = "CK_VERSION ",
    [P11_FK_BYTES] = "void *",
    [P11_FK_BITS] = "void *",
    [P11_FK_PVERSION] = "CK_VERSION *",
    [P11_FK_TEMPLATE] = "CK_ATTRIBUTE *",
    [P11_FK_MECHANISM] = "CK_MECHANISM *",
    [P11_FK_PNUMBER] = "CK_ULONG *",
    [P11_FK_PHANDLE] = "CK_OBJECT_HANDLE *",
    [P11_FK_POINTER] = "void *",
    [P11_FK_BYTES_AT] = "void *",
    [P11_FK_SLOT] = "CK_SLOT_ID ",
    [P11_FK_BYTES_OF] = "void *",
};

/* A structure, after those that are in it. */
static void structure(struct emit *e, struct text *out, unsigned number, struct table *done)
{
  const struct p11_struct *s = p11_struct_info(number);
  if (!s || table_get(done, number)) return;
  table_put(done, number, e);
  for (unsigned i = 0; i < s->count; i++) {
    const struct p11_field *f = &s->field[i];
    if (f->kind == P11_FK_STRUCT || f->kind == P11_FK_PSTRUCT || f->kind == P11_FK_STRUCTS)
      structure(e, out, f->ref, done);
  }
  text_s(out, "typedef struct {\n");
  for (unsigned i = 0; i < s->count; i++) {
    const struct p11_field *f = &s->field[i];
    const bool inside = f->kind == P11_FK_STRUCT, behind = f->kind == P11_FK_PSTRUCT || f->kind == P11_FK_STRUCTS;
    if (inside || behind)
      text_s(out, emit_format(e, "  REPRO_%s %s%s;\n", p11_struct_info(f->ref)->name, behind ? "*" : "", f->name));
    else if (f->kind == P11_FK_CHARS || f->kind == P11_FK_ARRAY)
      text_s(out, emit_format(e, "  CK_BYTE %s[%u];\n", f->name, f->size));
    else
      text_s(out, emit_format(e, "  %s%s;\n", f->size == 1 ? "CK_BYTE " : member_type[f->kind], f->name));
  }
  text_s(out, emit_format(e, "} REPRO_%s;\n", s->name));
}

static void structures(struct emit *e, struct text *out)
{
  struct table done = {0};
  arena_reset(&e->arena);
  if (e->structures.count) text_s(out, "\n/* REPRO_CK_...: the standard's CK_..., of which headers have some. */\n");
  for (size_t i = 0; i < e->structures.count; i++) structure(e, out, (unsigned)e->structures.at[i], &done);
  table_clear(&done, NULL);
}

static unsigned newer(const struct emit *e)
{
  unsigned count = 0;
  for (unsigned i = 0; i < P11_FUNCTIONS; i++) count += e->function[i];
  return count;
}

static void functions(struct emit *e, struct text *out)
{
  arena_reset(&e->arena);
  text_s(out, "\nstatic CK_FUNCTION_LIST *p11;\n");
  if (!newer(e) && !e->use.interfaces) return;
  text_s(out,
         "\ntypedef struct {\n  CK_UTF8CHAR *pInterfaceName;\n  void *pFunctionList;\n  CK_FLAGS flags;\n"
         "} REPRO_CK_INTERFACE;\n");
  if (!newer(e)) return;
  text_s(out, "\n/* Functions of 3.0 and later. */\nstatic struct {\n");
  for (unsigned i = 0; i < P11_FUNCTIONS; i++) {
    const struct p11_function_info *f = &p11_functions[i];
    if (!e->function[i]) continue;
    const char *line = emit_format(e, "  CK_RV (*%s)(", f->name);
    for (unsigned k = 0; k < f->arity; k++) {
      const struct p11_param *p = &f->param[k];
      const char *type = p->type;
      if (p->kind == P11_K_OUT_INTERFACE) type = "REPRO_CK_INTERFACE **";
      if (p->kind == P11_K_OUT_INTERFACES) type = "REPRO_CK_INTERFACE *";
      if (p->kind == P11_K_OUT_STRUCT) type = emit_format(e, "REPRO_%s *", p11_struct_info(p->aux)->name);
      if (p->kind == P11_K_ENUM) type = "CK_ULONG";
      if (p->kind == P11_K_OUT_FLAGS) type = "CK_FLAGS *";
      line = emit_format(e, "%s%s%s%s%s", line, k ? ", " : "", type, type[strlen(type) - 1] == '*' ? "" : " ", p->name);
    }
    text_s(out, line);
    text_s(out, ");\n");
  }
  text_s(out, "} v3;\n");
}

static void variables(struct emit *e, struct text *out)
{
  static const struct {
    const char *type, *name;
  } what[] = {
      {"CK_SLOT_ID",        "slot"   },
      {"CK_SESSION_HANDLE", "session"},
      {"CK_OBJECT_HANDLE",  "object" }
  };
  const struct emit_set *set[] = {&e->slots, &e->sessions, &e->objects};
  text_s(out, "\n/* As the recorded numbers were: session_1 is what stands for session 1. */\n");
  for (size_t k = 0; k < sizeof what / sizeof what[0]; k++) {
    arena_reset(&e->arena);
    for (size_t i = 0; i < set[k]->count; i++) {
      const char *initial = k == 0 ? emit_format(e, " = %s", emit_number(e, set[k]->at[i])) : "";
      text_s(out, emit_format(e, "static %s %s_%" PRIu64 "%s;\n", what[k].type, what[k].name, set[k]->at[i], initial));
    }
  }
  if (e->made_room.count) text_s(out, "\n/* What comes out of one call and goes into a later one. */\n");
  for (size_t i = 0; i < e->made_room.count; i++) {
    arena_reset(&e->arena);
    text_s(out, emit_format(e, "static CK_BYTE made_%zu[%" PRIu64 "];\nstatic CK_ULONG made_%zu_length;\n", i + 1,
                            e->made_room.at[i] & UINT32_MAX, i + 1));
  }
  text_c(out, '\n');
  if (e->use.own_pin) text_s(out, "static CK_UTF8CHAR *pin;\nstatic CK_ULONG pin_length;\n");
  if (e->use.so_pin) text_s(out, "static CK_UTF8CHAR *so_pin;\nstatic CK_ULONG so_pin_length;\n");
  if (e->use.wrong) text_s(out, "static int wrong_pins;\n");
  if (e->use.parameters) text_s(out, "static char *parameters;\n");
  if (e->use.some)
    text_s(out, "static CK_BYTE some[4096]; /* a pointer that was not NULL; what it led to does not matter */\n");
  text_s(out, "static unsigned made, differ;\n");
}

static const char expecting[] =
    "\nstatic const char *name_of(CK_RV rv);\n"
    "\nstatic void expect(CK_RV rv, CK_RV recorded, const char *call)\n"
    "{\n"
    "  made++;\n"
    "  if (rv == recorded) return;\n"
    "  differ++;\n"
    "  printf(\"%s: 0x%08lx %s, recorded 0x%08lx %s\\n\", call, rv, name_of(rv), recorded, name_of(recorded));\n"
    "}\n";
static const char skipping[] =
    "\nstatic void skip(const char *call)\n"
    "{\n"
    "  printf(\"%s: not made\\n\", call);\n"
    "}\n";
static const char taking[] =
    "\n/* Keeps what came out, as far as there is room on both sides. */\n"
    "static CK_ULONG take(CK_BYTE *to, CK_ULONG room, const CK_BYTE *from, CK_ULONG length)\n"
    "{\n"
    "  if (length > room) length = room;\n"
    "  memcpy(to, from, length);\n"
    "  return length;\n"
    "}\n";
static const char filling[] =
    "\n/* Bytes that say nothing; the first is 0, so that as a number they are small. */\n"
    "static void fill(CK_BYTE *to, CK_ULONG length, unsigned seed)\n"
    "{\n"
    "  CK_ULONG i;\n"
    "  for (i = 0; i < length; i++) {\n"
    "    seed = seed * 1664525u + 1013904223u;\n"
    "    to[i] = i == 0 ? 0 : (CK_BYTE)(seed >> 24);\n"
    "  }\n"
    "}\n";
static const char notifying[] =
    "\nstatic CK_RV notify(CK_SESSION_HANDLE session, CK_NOTIFICATION event, void *application)\n"
    "{\n"
    "  (void)session;\n"
    "  (void)event;\n"
    "  (void)application;\n"
    "  return CKR_OK;\n"
    "}\n";
static const char mutexes[] =
    "\n/* One thread makes all calls: locks need not lock. */\n"
    "static CK_RV create_mutex(void **mutex)\n"
    "{\n"
    "  static int one;\n"
    "  *mutex = &one;\n"
    "  return CKR_OK;\n"
    "}\n"
    "static CK_RV use_mutex(void *mutex)\n"
    "{\n"
    "  (void)mutex;\n"
    "  return CKR_OK;\n"
    "}\n"
    "#define destroy_mutex use_mutex\n"
    "#define lock_mutex use_mutex\n"
    "#define unlock_mutex use_mutex\n";

void emit_prologue(struct emit *e, struct text *out)
{
  head(e, out);
  text_s(out,
         "#include <dlfcn.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\n"
         "#include <p11-kit/pkcs11.h>\n");
  constants(e, out);
  structures(e, out);
  functions(e, out);
  variables(e, out);
  text_s(out, expecting);
  if (e->use.wrong || e->use.skip) text_s(out, skipping);
  if (e->use.take) text_s(out, taking);
  if (e->use.fill) text_s(out, filling);
  if (e->use.notify) text_s(out, notifying);
  if (e->use.mutexes) text_s(out, mutexes);
  text_c(out, '\n');
}

/* The way to the functions that p11-kit's table has no places for. */
/* clang-format off */
static const char finding[] =
    "\n/* The module's newest list. */\n"
    "static char *newest(void *module, unsigned *places)\n"
    "{\n"
    "  CK_RV (*get)(CK_UTF8CHAR *, CK_VERSION *, REPRO_CK_INTERFACE **, CK_FLAGS);\n"
    "  void *symbol = dlsym(module, \"C_GetInterface\");\n"
    "  CK_BYTE minor[] = {2, 1, 0};\n"
    "  unsigned i;\n"
    "  for (i = 0; symbol != NULL && i < sizeof minor; i++) {\n"
    "    CK_VERSION version = {3, 0};\n"
    "    REPRO_CK_INTERFACE *interface = NULL;\n"
    "    version.minor = minor[i];\n"
    "    memcpy(&get, &symbol, sizeof get);\n"
    "    if (get((CK_UTF8CHAR *)\"PKCS 11\", &version, &interface, 0) != CKR_OK) continue;\n"
    "    *places = minor[i] >= 2 ? 104 : 92;\n"
    "    return interface->pFunctionList;\n"
    "  }\n"
    "  *places = 0;\n"
    "  return NULL;\n"
    "}\n"
    "\n/* Its function at that place of the list, which is a CK_VERSION, then pointers. */\n"
    "static void *find(void *module, unsigned place, const char *name)\n"
    "{\n"
    "  unsigned places;\n"
    "  char *list = newest(module, &places);\n"
    "  void *function = NULL;\n"
    "  if (place < places) memcpy(&function, list + (place + 1) * sizeof function, sizeof function);\n"
    "  if (function == NULL) function = dlsym(module, name);\n"
    "  if (function == NULL && strncmp(name, \"C_GetInterface\", 14) != 0) {\n"
    "    fprintf(stderr, \"the module has no %s\\n\", name);\n"
    "    exit(2);\n"
    "  }\n"
    "  return function;\n"
    "}\n";
/* clang-format on */

static void load_newer(struct emit *e, struct text *out)
{
  text_s(out, finding);
  text_s(out, "\nstatic void load_newer(void *module)\n{\n  void *function;\n");
  for (unsigned i = 0; i < P11_FUNCTIONS; i++) {
    if (!e->function[i]) continue;
    const char *name = p11_functions[i].name;
    arena_reset(&e->arena);
    text_s(out,
           emit_format(e, "  function = find(module, %u, \"%s\");\n  memcpy(&v3.%s, &function, sizeof function);\n", i,
                       name, name));
  }
  text_s(out, "}\n");
}

static void load(struct emit *e, struct text *out)
{
  text_s(out,
         "\nstatic void load(const char *path)\n{\n"
         "  CK_RV (*get)(CK_FUNCTION_LIST **);\n"
         "  void *module = dlopen(path, RTLD_NOW), *symbol = module ? dlsym(module, \"C_GetFunctionList\") : NULL;\n"
         "  if (symbol != NULL) memcpy(&get, &symbol, sizeof get);\n"
         "  if (symbol == NULL || get(&p11) != CKR_OK) {\n"
         "    const char *why = symbol == NULL ? dlerror() : NULL;\n"
         "    fprintf(stderr, \"%s: %s\\n\", path, why ? why : \"no function list\");\n"
         "    exit(2);\n"
         "  }\n");
  if (newer(e)) text_s(out, "  load_newer(module);\n");
  text_s(out, "}\n");
}

static void arguments(struct emit *e, struct text *out)
{
  text_s(out, "\nstatic void read_arguments(int argc, char **argv)\n{\n  int i;\n");
  if (e->slots.count) text_s(out, "  unsigned slots = 0;\n");
  text_s(out, "  for (i = 2; i < argc; i++) {\n");
  const char *otherwise = "    if";
  if (e->slots.count) {
    text_s(out,
           "    if (strncmp(argv[i], \"slot=\", 5) == 0) {\n"
           "      CK_SLOT_ID slot = strtoul(argv[i] + 5, NULL, 0);\n      switch (slots++) {\n");
    for (size_t i = 0; i < e->slots.count; i++) {
      arena_reset(&e->arena);
      text_s(out, emit_format(e, "        case %zu: slot_%" PRIu64 " = slot; break;\n", i, e->slots.at[i]));
    }
    text_s(out, "        default: break;\n      }\n    }");
    otherwise = " else if";
  }
  if (e->use.so_pin) {
    text_s(out, otherwise);
    text_s(out,
           " (strncmp(argv[i], \"so=\", 3) == 0) {\n      so_pin = (CK_UTF8CHAR *)argv[i] + 3;\n"
           "      so_pin_length = strlen(argv[i] + 3);\n    }");
    otherwise = " else if";
  }
  if (e->use.parameters) {
    text_s(out, otherwise);
    text_s(out, " (strncmp(argv[i], \"parameters=\", 11) == 0) {\n      parameters = argv[i] + 11;\n    }");
    otherwise = " else if";
  }
  if (e->use.wrong) {
    text_s(out, otherwise);
    text_s(out, " (strcmp(argv[i], \"wrong-pins\") == 0) {\n      wrong_pins = 1;\n    }");
    otherwise = " else if";
  }
  text_s(out, otherwise);
  text_s(out, e->use.own_pin
                  ? " (i == 2) {\n      pin = (CK_UTF8CHAR *)argv[i];\n      pin_length = strlen(argv[i]);\n    }"
                  : " (i == 2) {\n      continue; /* no call needs the user's PIN */\n    }");
  text_s(out, " else {\n      fprintf(stderr, \"%s: what is that?\\n\", argv[i]);\n      exit(2);\n    }\n  }\n}\n");
}

static void names(struct emit *e, struct text *out)
{
  text_s(out, "\nstatic const char *name_of(CK_RV rv)\n{\n  switch (rv) {\n");
  for (uint64_t rv = 0; rv < 0x1000; rv++) {
    const char *name = p11_constant_name(P11_DOM_CKR, rv);
    if (!name) continue;
    arena_reset(&e->arena);
    text_s(out, emit_format(e, "    case 0x%" PRIx64 ": return \"%s\";\n", rv, name));
  }
  text_s(out, "    default: return \"\";\n  }\n}\n");
}

void emit_epilogue(struct emit *e, struct text *out)
{
  if (newer(e)) load_newer(e, out);
  load(e, out);
  arguments(e, out);
  text_s(out,
         "\nint main(int argc, char **argv)\n{\n  if (argc < 2) {\n"
         "    fprintf(stderr, \"usage: %s MODULE.so [PIN]; more in the source\\n\", argv[0]);\n    return 2;\n  }\n"
         "  read_arguments(argc, argv);\n");
  if (e->use.own_pin)
    text_s(out,
           "  if (pin == NULL) {\n    fprintf(stderr, \"%s needs the user's PIN\\n\", argv[0]);\n    return 2;\n  }\n");
  if (e->use.so_pin)
    text_s(out,
           "  if (so_pin == NULL) {\n    fprintf(stderr, \"%s needs so=SO-PIN\\n\", argv[0]);\n    return 2;\n  }\n");
  text_s(out, "  alarm(300); /* a call that hangs ends the program */\n  load(argv[1]);\n");
  for (unsigned i = 1; i <= e->parts; i++) {
    arena_reset(&e->arena);
    text_s(out, emit_format(e, "  calls_%u();\n", i));
  }
  text_s(out,
         "  p11->C_Finalize(NULL);\n  printf(\"%u calls made, %u differ\\n\", made, differ);\n"
         "  return differ != 0;\n}\n");
  names(e, out);
}
