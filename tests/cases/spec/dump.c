/* Prints the tables of shim/spec, one fact a line, tab-separated, for tests/test_spec*.py to compare. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include <stdio.h>

#include "spec.h"

static const char *const labels[] = {"none",
#define D(domain, label, is_flags) label,
#include "domains.def"
};

static void constants(void)
{
  /* Written and compiled value: an enumerator must not be cut or change its sign. */
#define BEGIN(domain) { enum p11_domain dom = P11_DOM_##domain;
#define C(name, value, source) \
  printf("constant\t%s\t%s\t0x%llx\t0x%lx\t%s\n", labels[dom], #name, value##ULL, (unsigned long)(name), #source);
#define END(domain) }
#include "constants.def"
#define D(domain, label, is_flags) \
  printf("domain\t%d\t%s\t%s\t%d\n", P11_DOM_##domain, #domain, label, is_flags);
#include "domains.def"
}

static void structures(void)
{
  for (unsigned n = 0; n < 1000; n++) {
    const struct p11_struct *s = p11_struct_info(n);
    if (s == NULL) continue;
    printf("struct\t%u\t%s\t%u\t%u\n", n, s->name, s->size, s->count);
    for (const struct p11_field *f = s->field; f < s->field + s->count; f++) {
      printf("field\t%s\t%s\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\n", s->name, f->name, f->offset, f->size, f->kind, f->secrecy,
             f->direction, f->is_volatile, f->link, f->ref);
    }
  }
#define PLAIN(s, m) printf("plain\t" #s "\t" #m "\t%zu\t%zu\t%zu\n", offsetof(s, m), sizeof(((s *)0)->m), sizeof(s))
  PLAIN(CK_VERSION, major);
  PLAIN(CK_VERSION, minor);
  PLAIN(CK_DATE, year);
  PLAIN(CK_DATE, month);
  PLAIN(CK_DATE, day);
  PLAIN(CK_ATTRIBUTE, type);
  PLAIN(CK_ATTRIBUTE, pValue);
  PLAIN(CK_ATTRIBUTE, ulValueLen);
  PLAIN(CK_MECHANISM, mechanism);
  PLAIN(CK_MECHANISM, pParameter);
  PLAIN(CK_MECHANISM, ulParameterLen);
  PLAIN(CK_INTERFACE, pInterfaceName);
  PLAIN(CK_INTERFACE, pFunctionList);
  PLAIN(CK_INTERFACE, flags);
  PLAIN(CK_C_INITIALIZE_ARGS, CreateMutex);
  PLAIN(CK_C_INITIALIZE_ARGS, DestroyMutex);
  PLAIN(CK_C_INITIALIZE_ARGS, LockMutex);
  PLAIN(CK_C_INITIALIZE_ARGS, UnlockMutex);
  PLAIN(CK_C_INITIALIZE_ARGS, flags);
  PLAIN(CK_C_INITIALIZE_ARGS, pReserved);
  PLAIN(CK_NSS_C_INITIALIZE_ARGS, LibraryParameters);
  PLAIN(CK_NSS_C_INITIALIZE_ARGS, pReserved);
}

static void functions(void)
{
  for (int n = 0; n < P11_FUNCTIONS; n++) {
    const struct p11_function_info *f = &p11_functions[n];
    printf("function\t%d\t%s\t0x%x\t%u\t%u\t%u\t%d\n", n, f->name, f->since, f->group, f->class, f->arity,
           p11_function_by_name(f->name));
    for (unsigned i = 0; i < f->arity; i++) {
      const struct p11_param *p = &f->param[i];
      printf("param\t%s\t%u\t%s\t%s\t%u\t%u\t%u\t%u\t%u\n", f->name, i + 1, p->name, p->type, p->kind, p->link,
             p->secrecy, p->compare, p->aux);
    }
  }
#define IN_V2_40(name) printf("list\t2.40\t%s\t%zu\n", #name, offsetof(CK_FUNCTION_LIST, name));
#define IN_V3_0(name)
#define IN_V3_2(name)
#define F(name, since, ...) IN_##since(name)
#include "functions.def"
#undef IN_V3_0
#undef IN_V2_40
#define IN_V2_40(name) printf("list\t3.0\t%s\t%zu\n", #name, offsetof(CK_FUNCTION_LIST_3_0, name));
#define IN_V3_0 IN_V2_40
#define F(name, since, ...) IN_##since(name)
#include "functions.def"
#define F(name, since, ...) printf("list\t3.2\t%s\t%zu\n", #name, offsetof(CK_FUNCTION_LIST_3_2, name));
#include "functions.def"
  printf("size\t2.40\t%zu\nsize\t3.0\t%zu\nsize\t3.2\t%zu\n", sizeof(CK_FUNCTION_LIST), sizeof(CK_FUNCTION_LIST_3_0),
         sizeof(CK_FUNCTION_LIST_3_2));
}

static void attribute(const char *name, uint64_t type)
{
  const struct p11_attribute_info *a = p11_attribute(type);
  if (a == NULL) return;
  printf("attribute\t%s\t%s\t0x%llx\t%u\t%u\t%u\n", name, a->name, (unsigned long long)a->type, a->kind, a->secrecy,
         a->domain);
}

static void attributes(void)
{
#define BEGIN(domain) if (P11_DOM_##domain == P11_DOM_CKA) {
#define C(cname, value, source) attribute(#cname, value);
#define END(domain) }
#include "constants.def"
}

static const char *struct_name(unsigned number)
{
  const struct p11_struct *s = p11_struct_info(number);
  return s == NULL ? "-" : s->name;
}

static void mechanism(const char *name, uint64_t value)
{
  unsigned char parameter[512] = {0};
  printf("mechanism\t%s\t%d", name, (int)p11_mechanism_plain(value));
  for (size_t size = 0; size <= sizeof parameter; size++) {
    unsigned s = p11_mechanism_struct(value, parameter, size);
    if (s != P11_S_NONE) printf("\t%s:%zu", struct_name(s), size);
  }
  printf("\n");
}

static void mechanisms(void)
{
#define BEGIN(domain) if (P11_DOM_##domain == P11_DOM_CKM) {
#define C(cname, value, source) mechanism(#cname, value);
#define END(domain) }
#include "constants.def"
  mechanism("vendor", 0x80001234);
  mechanism("beyond", (uint64_t)CKM_AES_GCM << 32);

  /* Layouts of one size. */
  CK_ULONG lengths[] = {0, 1, 8192, 8193, 0x7fff00000000};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    CK_PKCS5_PBKD2_PARAMS2 p = {.ulPasswordLen = lengths[i]};
    printf("pbkd2\t%lu\t%s\n", lengths[i], struct_name(p11_mechanism_struct(CKM_PKCS5_PBKD2, &p, sizeof p)));
  }
  CK_ULONG words[] = {0, 1, 4, 5, 0x7fff00000000};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    CK_GCM_MESSAGE_PARAMS p = {.ivGenerator = words[i]};
    printf("gcm\t%lu\t%s\n", words[i], struct_name(p11_mechanism_struct(CKM_AES_GCM, &p, sizeof p)));
  }
  printf("null\t%s\t%s\n", struct_name(p11_mechanism_struct(CKM_AES_GCM, NULL, sizeof(CK_GCM_PARAMS))),
         struct_name(p11_mechanism_struct(CKM_PKCS5_PBKD2, NULL, sizeof(CK_PKCS5_PBKD2_PARAMS))));
}

static void name(enum p11_domain domain, const char *constant, uint64_t value)
{
  uint64_t back = ~value;
  const char *first = p11_constant_name(domain, value);
  bool known = p11_constant_value(constant, &back);
  printf("name\t%s\t%s\t%s\t%d\n", labels[domain], constant, first == NULL ? "-" : first, known && back == value);
}

static void names(void)
{
#define BEGIN(domain) { enum p11_domain dom = P11_DOM_##domain;
#define C(cname, value, source) name(dom, #cname, value);
#define END(domain) }
#include "constants.def"
  uint64_t value = 7;
  printf("unknown\t%d\t%d\t%d\t%d\t%lu\n", p11_constant_name(P11_DOM_CKR, 0x12345678) == NULL,
         p11_constant_name(P11_DOM_NONE, 0) == NULL, p11_constant_name(P11_DOMAINS, 0) == NULL,
         !p11_constant_value("CKR_NO_SUCH", &value), (unsigned long)value);
}

int main(void)
{
  constants();
  structures();
  functions();
  attributes();
  mechanisms();
  names();
  return 0;
}
