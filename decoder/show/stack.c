#include "decoder/show/stack.h"

#include "decoder/show/json.h"

#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

static void put(struct text *out, const char *text)
{
  text_escaped(out, text, strlen(text), "");
}

static void put_raw(struct text *out, const struct symbol_frame *f)
{
  put(out, f->object->path);
  S(" [");
  put(out, f->object->build_id[0] != '\0' ? f->object->build_id : "no build id");
  S("] ");
  text_x(out, f->offset);
}

static void put_source(struct text *out, const struct symbol_frame *f)
{
  const char *slash = strrchr(f->source, '/');
  text_c(out, ' ');
  put(out, slash != NULL ? slash + 1 : f->source);
  text_c(out, ':');
  text_u(out, f->line);
}

void stack_function(struct text *out, const struct symbol_frame *f)
{
  if (f->object == NULL) {
    text_x(out, f->address);
    return;
  }
  put(out, f->object->name);
  if (f->function != NULL) {
    text_c(out, ' ');
    put(out, f->function);
  } else {
    text_c(out, '+');
    text_x(out, f->offset);
  }
}

static void put_frame(struct text *out, const struct symbol_frame *f, bool raw)
{
  if (raw && f->object != NULL) {
    put_raw(out, f);
    return;
  }
  stack_function(out, f);
  if (f->function != NULL) {
    text_c(out, '+');
    text_x(out, f->function_offset);
  }
  if (f->source != NULL) put_source(out, f);
  if (f->trust == SYMBOLS_UNCHECKED && (f->function != NULL || f->source != NULL)) S(" (build id not checked)");
}

void stack_frame(struct text *out, struct symbols *symbols, const struct process *process, uint64_t address, bool raw)
{
  const struct symbol_frame *f = symbols_frame(symbols, process, address);
  if (f->text == NULL && f->object != NULL) { /* a stack of twenty frames has the same fifteen again and again */
    struct text line;
    text_open(&line, -1);
    put_frame(&line, f, raw);
    symbols_keep_text(symbols, f, line.base, (size_t)(line.at - line.base));
    text_close(&line);
  }
  if (f->object == NULL) {
    put_frame(out, f, raw);
  } else {
    text_raw(out, f->text, f->text_length);
  }
}

void stack_lines(struct text *out, struct symbols *symbols, const struct process *process, const struct call *call,
                 bool raw)
{
  if (call->stale) S(" > (may be stale: a file was unmapped before)\n");
  for (unsigned i = 0; i < call->depth; i++) {
    S(" > ");
    stack_frame(out, symbols, process, call->stack[i], raw);
    text_c(out, '\n');
  }
}

json_t *stack_json(struct symbols *symbols, const struct process *process, const struct call *call)
{
  json_t *list = json_array();
  for (unsigned i = 0; i < call->depth; i++) {
    const struct symbol_frame *f = symbols_frame(symbols, process, call->stack[i]);
    json_t *o = json_object();
    json_put(o, "address", json_address(call->stack[i]));
    if (f->object != NULL) {
      json_text(o, "file", f->object->path);
      if (f->object->build_id[0] != '\0') json_text(o, "build_id", f->object->build_id);
      json_put(o, "offset", json_address(f->offset));
    }
    if (f->function != NULL) {
      json_text(o, "function", f->function);
      json_put(o, "function_offset", json_number(f->function_offset));
    }
    if (f->source != NULL) {
      json_text(o, "source", f->source);
      json_put(o, "line", json_integer(f->line));
    }
    bool named = f->function != NULL || f->source != NULL;
    if (named) json_put(o, "checked", json_boolean(f->trust != SYMBOLS_UNCHECKED));
    json_add(list, o);
  }
  return list;
}
