#include <string.h>

#include "decoder/check/json.h"
#include "decoder/diff/result.h"
#include "decoder/show/json.h"

static json_t *side_json(const struct survey *s)
{
  json_t *o = json_object(), *list = json_array();
  json_put(o, "trace", check_json_text(s->path));
  json_put(o, "calls", json_number(s->calls));
  for (size_t i = 0; i < s->processes; i++) {
    const struct process_seen *p = &s->process[i];
    json_t *process = json_object(), *modules = json_array();
    json_put(process, "program", check_json_text(p->program));
    json_put(process, "pid", json_integer(p->pid));
    for (size_t k = 0; k < p->modules; k++) json_add(modules, check_json_text(p->module[k].path));
    json_put(process, "modules", modules);
    json_add(list, process);
  }
  json_put(o, "processes", list);
  json_put(o, "damaged", json_boolean(s->damaged));
  json_put(o, "objects_without_names", json_number(survey_unnamed(s)));
  return o;
}

static json_t *lines_json(const struct detail_lines *l)
{
  json_t *list = json_array();
  for (unsigned i = 0; i < l->count; i++) json_add(list, check_json_text(l->line[i]));
  return list;
}

static json_t *kind_json(const struct found_kind *k)
{
  enum { PLACES = 32 };
  struct place place[PLACES];
  json_t *o = json_object(), *list = json_array();
  json_put(o, "function", json_string(found_function_name(k->function)));
  json_put(o, "kind", json_string(result_kind_name(k->kind)));
  json_put(o, "count", json_number(k->count));
  for (int side = 0; side < SIDES; side++) {
    if (!k->number[side]) continue;
    json_t *call = json_object();
    json_put(call, "call", json_number(k->number[side]));
    json_put(call, "pid", json_integer(k->pair->process[side]->pid));
    if (k->call[side].line) json_put(call, "text", check_json_text(k->call[side].line));
    json_put(o, side == SIDE_A ? "a" : "b", call);
  }
  const size_t count = result_places(k, place, PLACES);
  for (size_t i = 0; i < count; i++) {
    json_t *p = json_object();
    json_put(p, "place", json_string((place[i].part[0] ? place[i].part[0] : place[i].part[1])->place));
    for (int side = 0; side < SIDES; side++)
      json_put(p, side == SIDE_A ? "a" : "b",
               place[i].part[side] ? check_json_text(place[i].part[side]->text) : json_null());
    json_add(list, p);
  }
  json_put(o, "places", list);
  return o;
}

static json_t *first_json(const struct diff_result *r)
{
  json_t *o = kind_json(&r->found.kind[r->found.first]);
  for (int side = 0; side < SIDES; side++) {
    json_t *call = json_object_get(o, side == SIDE_A ? "a" : "b");
    if (!call) continue;
    json_put(call, "before", lines_json(&r->detail.before[side]));
    json_put(call, "after", lines_json(&r->detail.after[side]));
    json_put(call, "history", lines_json(&r->detail.history[side]));
  }
  return o;
}

static json_t *functions_json(const struct found *f)
{
  json_t *list = json_array();
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++) {
    const struct found_function *x = &f->function[i];
    if (x->calls[SIDE_A] + x->calls[SIDE_B] == 0) continue;
    json_t *o = json_object();
    json_put(o, "function", json_string(found_function_name(i)));
    json_put(o, "calls_a", json_number(x->calls[SIDE_A]));
    json_put(o, "calls_b", json_number(x->calls[SIDE_B]));
    json_put(o, "answers", json_number(x->answers));
    json_put(o, "arguments", json_number(x->arguments));
    json_put(o, "only_a", json_number(x->only[SIDE_A]));
    json_put(o, "only_b", json_number(x->only[SIDE_B]));
    json_add(list, o);
  }
  return list;
}

bool print_diff_json(FILE *to, const struct diff_result *r)
{
  json_t *o = json_object(), *kinds = json_array(), *descriptions = json_array(), *lonely = json_array();
  json_put(o, "a", side_json(&r->survey[SIDE_A]));
  json_put(o, "b", side_json(&r->survey[SIDE_B]));
  json_put(o, "same", json_boolean(r->same));
  json_put(o, "first", r->found.first >= 0 ? first_json(r) : json_null());
  for (unsigned i = 0; i < r->found.kinds; i++)
    json_add(r->found.kind[i].kind == DIFFERENT_DESCRIPTION ? descriptions : kinds, kind_json(&r->found.kind[i]));
  json_put(o, "differences", kinds);
  json_put(o, "kinds_not_kept", json_number(r->found.lost));
  json_put(o, "descriptions", descriptions);
  json_put(o, "functions", functions_json(&r->found));
  for (size_t i = 0; i < r->lonelies; i++) {
    json_t *l = json_object();
    json_put(l, "side", json_string(r->lonely[i].side == SIDE_A ? "a" : "b"));
    json_put(l, "program", check_json_text(r->lonely[i].process->program));
    json_put(l, "pid", json_integer(r->lonely[i].process->pid));
    if (r->lonely[i].module) json_put(l, "module", check_json_text(r->lonely[i].module->path));
    json_add(lonely, l);
  }
  json_put(o, "one_side_only", lonely);
  return check_json_write(to, o);
}
