/* Looking into one loaded object's symbol table. dlsym would look into its dependencies as well, wait for the loader's lock
 * and leave an error behind. */
#include <elf.h>
#include <string.h>

#include "shim/load/preload.h"

struct symbols {
  const ElfW(Sym) * symbol;
  const char *string;
  const uint32_t *gnu_hash, *hash;
};

/* The loader relocates the addresses in the dynamic section, but not where the section is read-only. */
static const void *at(uint64_t base, uint64_t value)
{
  return (const void *)(uintptr_t)(value < base ? base + value : value);
}

static bool read_dynamic(uint64_t base, const ElfW(Dyn) * d, struct symbols *s)
{
  memset(s, 0, sizeof *s);
  for (; d != NULL && d->d_tag != DT_NULL; d++) {
    switch (d->d_tag) {
      case DT_SYMTAB: s->symbol = at(base, d->d_un.d_ptr); break;
      case DT_STRTAB: s->string = at(base, d->d_un.d_ptr); break;
      case DT_GNU_HASH: s->gnu_hash = at(base, d->d_un.d_ptr); break;
      case DT_HASH: s->hash = at(base, d->d_un.d_ptr); break;
      default: break;
    }
  }
  return s->symbol != NULL && s->string != NULL;
}

static p11t_any_function value_of(uint64_t base, const struct symbols *s, uint32_t i, const char *name)
{
  const ElfW(Sym) *symbol = &s->symbol[i];
  if (symbol->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC) return NULL;
  if (strcmp(s->string + symbol->st_name, name) != 0) return NULL;
  return (p11t_any_function)(uintptr_t)(base + symbol->st_value);
}

p11t_any_function p11t_symbol_in(uint64_t base, const ElfW(Dyn) * dynamic, const char *name)
{
  struct symbols s;
  if (!read_dynamic(base, dynamic, &s)) return NULL;
  if (s.gnu_hash != NULL) {
    uint32_t hash = 5381, buckets = s.gnu_hash[0], offset = s.gnu_hash[1], words = s.gnu_hash[2];
    for (const char *c = name; *c != '\0'; c++) hash = hash * 33 + (unsigned char)*c;
    const uint32_t *bucket = (const void *)((const char *)(s.gnu_hash + 4) + words * sizeof(ElfW(Addr)));
    uint32_t i = buckets > 0 ? bucket[hash % buckets] : 0;
    for (; i >= offset && i != 0; i++) {
      uint32_t chain = bucket[buckets + i - offset];
      p11t_any_function found = (chain | 1) == (hash | 1) ? value_of(base, &s, i, name) : NULL;
      if (found != NULL) return found;
      if (chain & 1) break;
    }
    return NULL;
  }
  for (uint32_t i = 1; s.hash != NULL && i < s.hash[1]; i++) {
    p11t_any_function found = value_of(base, &s, i, name);
    if (found != NULL) return found;
  }
  return NULL;
}
