/* Names of one mapped file: its symbol tables, those of its debug file, and DWARF's lines. */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/read/arena.h"
#include "decoder/symbols/symbols_part.h"

enum { MAX_SYMBOLS = 8 << 20, MAX_RANGES = 8 << 20, LOOK_BACK = 16 };

struct symbol {
  uint64_t start, size;
  const char *name;
  unsigned rank;
};

/* Code of a compilation unit. */
struct range {
  uint64_t low, high;
  Dwarf_Off unit;
};

struct part {
  int fd;
  Elf *elf;
};

struct elf_names {
  struct part part[2]; /* the file, its debug file; elf NULL: not there */
  struct symbol *symbol;
  size_t symbols, room;
  Dwarf *dwarf;
  struct range *range;
  size_t ranges;
};

static void close_part(struct part *part)
{
  elf_end(part->elf);
  if (part->elf != NULL) close(part->fd);
  part->elf = NULL;
}

static bool open_part(struct part *part, const char *root, const char *path, const char **why)
{
  part->elf = NULL;
  part->fd = symbol_file_open(root, path, why);
  if (part->fd < 0) return false;
  part->elf = elf_begin(part->fd, ELF_C_READ, NULL);
  if (part->elf != NULL && elf_kind(part->elf) == ELF_K_ELF) return true;
  *why = "not an ELF file";
  if (part->elf == NULL) close(part->fd);
  close_part(part);
  return false;
}

/* Its build id as hexadecimal digits, "" none. */
static void build_id_of(Elf *elf, char *text, size_t size)
{
  const void *bytes = NULL;
  ssize_t n = dwelf_elf_gnu_build_id(elf, &bytes);
  text[0] = '\0';
  for (ssize_t i = 0; i < n && 2 * (size_t)i + 3 <= size; i++) {
    sprintf(text + 2 * i, "%02x", ((const unsigned char *)bytes)[i]);
  }
}

static unsigned rank_of(const GElf_Sym *sym, const char *name)
{
  unsigned bind = GELF_ST_BIND(sym->st_info), underscores = 0;
  while (name[underscores] == '_' && underscores < 8) underscores++;
  return (bind == STB_GLOBAL ? 0 : bind == STB_WEAK ? 16 : 32) + underscores;
}

/* Functions with a size: what lies between two symbols of a stripped library belongs to neither. */
static void add_table(struct elf_names *n, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
  Elf_Data *data = elf_getdata(section, NULL);
  if (data == NULL || header->sh_entsize == 0) return;
  uint64_t count = data->d_size / header->sh_entsize;
  for (uint64_t i = 1; i < count && i < MAX_SYMBOLS; i++) {
    GElf_Sym sym;
    if (gelf_getsym(data, (int)i, &sym) == NULL) return;
    unsigned type = GELF_ST_TYPE(sym.st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym.st_shndx == SHN_UNDEF || sym.st_size == 0) continue;
    const char *name = elf_strptr(elf, header->sh_link, sym.st_name);
    if (name == NULL || name[0] == '\0') continue;
    if (n->symbols == n->room) {
      n->room = n->room == 0 ? 4096 : n->room * 2;
      n->symbol = read_realloc(n->symbol, n->room * sizeof *n->symbol);
    }
    n->symbol[n->symbols++] = (struct symbol){sym.st_value, sym.st_size, name, rank_of(&sym, name)};
  }
}

static int by_start(const void *x, const void *y)
{
  const struct symbol *a = x, *b = y;
  if (a->start != b->start) return a->start < b->start ? -1 : 1;
  if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
  return strcmp(a->name, b->name);
}

static void read_symbols(struct elf_names *n)
{
  for (int p = 0; p < 2; p++) {
    Elf *elf = n->part[p].elf;
    for (Elf_Scn *section = NULL; elf != NULL && (section = elf_nextscn(elf, section)) != NULL;) {
      GElf_Shdr header;
      if (gelf_getshdr(section, &header) == NULL) continue;
      if (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM) add_table(n, elf, section, &header);
    }
  }
  if (n->symbols == 0) return;
  qsort(n->symbol, n->symbols, sizeof *n->symbol, by_start);
  size_t kept = 1;
  for (size_t i = 1; i < n->symbols; i++) { /* of several names of one place, the best */
    if (n->symbol[i].start != n->symbol[kept - 1].start) n->symbol[kept++] = n->symbol[i];
  }
  n->symbols = kept;
}

/* --- DWARF ----------------------------------------------------------------------------------------------------------- */

static int by_low(const void *x, const void *y)
{
  const struct range *a = x, *b = y;
  return a->low < b->low ? -1 : a->low > b->low;
}

/* .debug_aranges would say the same, but clang leaves it out. */
static void read_ranges(struct elf_names *n)
{
  size_t room = 0;
  Dwarf_CU *cu = NULL;
  Dwarf_Die die;
  while (dwarf_get_units(n->dwarf, cu, &cu, NULL, NULL, &die, NULL) == 0) {
    if (dwarf_tag(&die) != DW_TAG_compile_unit) continue;
    Dwarf_Addr base, low, high;
    ptrdiff_t at = 0;
    while ((at = dwarf_ranges(&die, at, &base, &low, &high)) > 0) {
      if (low >= high || n->ranges >= MAX_RANGES) continue;
      if (n->ranges == room) {
        room = room == 0 ? 256 : room * 2;
        n->range = read_realloc(n->range, room * sizeof *n->range);
      }
      n->range[n->ranges++] = (struct range){low, high, dwarf_dieoffset(&die)};
    }
  }
  if (n->ranges > 0) qsort(n->range, n->ranges, sizeof *n->range, by_low);
}

static void open_dwarf(struct elf_names *n)
{
  for (int p = 1; p >= 0 && n->ranges == 0; p--) {
    if (n->part[p].elf == NULL) continue;
    n->dwarf = dwarf_begin_elf(n->part[p].elf, DWARF_C_READ, NULL);
    if (n->dwarf == NULL) continue;
    dwarf_setalt(n->dwarf, NULL); /* ranges and lines need none, and its name is not to be followed */
    read_ranges(n);
    if (n->ranges > 0) return;
    dwarf_end(n->dwarf);
    n->dwarf = NULL;
  }
}

static bool find_unit(const struct elf_names *n, uint64_t pc, Dwarf_Die *unit)
{
  size_t low = 0, high = n->ranges;
  while (low < high) { /* the last that begins at or before pc */
    size_t middle = (low + high) / 2;
    if (n->range[middle].low <= pc) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (size_t i = low; i > 0 && i + LOOK_BACK > low; i--) {
    const struct range *r = &n->range[i - 1];
    if (pc < r->high) return dwarf_offdie(n->dwarf, r->unit, unit) != NULL;
  }
  return false;
}

/* Only where no symbol table has a name for it. */
static void find_subprogram(Dwarf_Die *unit, uint64_t pc, struct elf_place *place)
{
  Dwarf_Die *scopes = NULL;
  int count = dwarf_getscopes(unit, pc, &scopes);
  for (int i = 0; i < count && place->function == NULL; i++) {
    if (dwarf_tag(&scopes[i]) != DW_TAG_subprogram) continue;
    Dwarf_Addr start;
    const char *name = dwarf_diename(&scopes[i]);
    if (name == NULL || dwarf_entrypc(&scopes[i], &start) != 0 || start > pc) continue;
    place->function = name;
    place->start = start;
  }
  free(scopes);
}

/* --- one file -------------------------------------------------------------------------------------------------------- */

static bool is_build_id(const char *id)
{
  size_t n = strlen(id);
  return n >= 6 && n <= 128 && strspn(id, "0123456789abcdef") == n;
}

/* DIR/.build-id/xx/yyyy.debug, or the whole file without .debug. */
static bool open_debug(struct part *part, const char *root, const char *folder, const char *build_id)
{
  static const char *const endings[] = {".debug", ""};
  for (int i = 0; i < 2; i++) {
    char path[4096], id[130];
    const char *why;
    if (snprintf(path, sizeof path, "%s/.build-id/%.2s/%s%s", folder, build_id, build_id + 2, endings[i]) >=
        (int)sizeof path) {
      continue;
    }
    char *whole = path[0] == '/' ? NULL : realpath(path, NULL); /* --debug-dir may be relative */
    bool opened = open_part(part, root, whole != NULL ? whole : path, &why);
    free(whole);
    if (!opened) continue;
    build_id_of(part->elf, id, sizeof id);
    if (strcmp(id, build_id) == 0) return true;
    close_part(part);
  }
  return false;
}

static void find_debug(const struct symbols_options *o, struct part *part, const char *build_id)
{
  if (!is_build_id(build_id)) return;
  for (size_t i = 0; i < o->debug_dirs; i++) {
    if (open_debug(part, NULL, o->debug_dir[i], build_id)) return;
  }
  open_debug(part, o->sysroot, "/usr/lib/debug", build_id);
}

/* Where the trace says, or, below --sysroot, also without its folders: files that were collected by hand lie side by side. */
static bool open_file(const struct symbols_options *o, struct part *part, const char *path, const char **why)
{
  if (open_part(part, o->sysroot, path, why)) return true;
  const char *slash = strrchr(path, '/');
  const char *other;
  return o->sysroot != NULL && slash != NULL && slash != path && open_part(part, o->sysroot, slash, &other);
}

struct elf_names *elf_names_open(const struct symbols_options *options, const char *path, const char *build_id,
                                 enum symbols_trust *trust, char *why, size_t size)
{
  char id[130] = "";
  const char *problem = "";
  elf_version(EV_CURRENT);
  struct elf_names *n = read_zalloc(sizeof *n);
  *trust = SYMBOLS_SAME;
  if (!open_file(options, &n->part[0], path, &problem)) {
    *trust = SYMBOLS_MISSING;
    snprintf(why, size, "%s", problem);
  } else {
    build_id_of(n->part[0].elf, id, sizeof id);
    if (id[0] == '\0' || build_id[0] == '\0') {
      *trust = SYMBOLS_UNCHECKED;
      snprintf(why, size, "%s has no build id: its names cannot be checked", id[0] == '\0' ? "the file" : "the trace");
    } else if (strcmp(id, build_id) != 0) {
      *trust = SYMBOLS_DIFFERENT;
      snprintf(why, size, "its build id is %.40s, in the trace %.40s: another build, its names are not used", id,
               build_id);
      close_part(&n->part[0]);
    }
  }
  find_debug(options, &n->part[1], build_id);
  if (n->part[1].elf != NULL) { /* its build id is the trace's */
    if (*trust == SYMBOLS_UNCHECKED) close_part(&n->part[0]);
    *trust = SYMBOLS_SAME;
  }
  if (n->part[0].elf == NULL && n->part[1].elf == NULL) {
    elf_names_close(n);
    return NULL;
  }
  read_symbols(n);
  open_dwarf(n);
  return n;
}

bool elf_names_find(struct elf_names *n, uint64_t pc, struct elf_place *place)
{
  *place = (struct elf_place){0};
  size_t low = 0, high = n->symbols;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (n->symbol[middle].start <= pc) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (size_t i = low; i > 0 && i + LOOK_BACK > low && place->function == NULL; i--) {
    const struct symbol *s = &n->symbol[i - 1];
    if (pc - s->start >= s->size) continue;
    place->function = s->name;
    place->start = s->start;
  }
  Dwarf_Die unit;
  if (n->ranges > 0 && find_unit(n, pc, &unit)) {
    Dwarf_Line *line = dwarf_getsrc_die(&unit, pc);
    int number = 0;
    if (line != NULL && dwarf_lineno(line, &number) == 0 && number > 0) {
      place->source = dwarf_linesrc(line, NULL, NULL);
      place->line = (unsigned)number;
    }
    if (place->function == NULL) find_subprogram(&unit, pc, place);
  }
  return place->function != NULL || place->source != NULL;
}

void elf_names_close(struct elf_names *n)
{
  if (n == NULL) return;
  dwarf_end(n->dwarf);
  close_part(&n->part[0]);
  close_part(&n->part[1]);
  free(n->symbol);
  free(n->range);
  free(n);
}
