# p11trace. `make` builds everything under $(BUILD); the other verbs are listed by `make help`.
#
# Sources are found by wildcard, one rule per product: adding a file needs no edit here.
# Overridable: BUILD CC CXX CFLAGS LDFLAGS TOKEN_CRYPTO PREFIX DESTDIR V=1 (show commands) NO_INSTALL=1 (install no packages).

BUILD   ?= build
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
LDFLAGS ?=
V       ?= 0
PYTHON  ?= /usr/bin/python3
PYTEST  ?= $(PYTHON) -m pytest
PYTEST_ARGS ?=
# For .ci/run, which wants pytest's own status and closing line.
PYTEST_END ?=
# make's built-in default is `cc`; an explicit CC (environment or command line) is kept.
ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(origin CXX),default)
CXX     := g++
endif
# Set by check-asan and check-tsan only.
SANITIZE ?=

.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

Q   = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

WARN     := -Wall -Wextra -Wshadow
CWARN    := $(WARN) -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
# Our own flags come first, so that CFLAGS from the command line can override them.
BASE     := -std=c11 -D_GNU_SOURCE $(CWARN) -MMD -MP -I. -Ishim/spec
MODINC   := -Imodule
SHARED   := -fPIC -fvisibility=hidden -fasynchronous-unwind-tables -fexceptions
SAN      := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
HARDEN   := -Wl,-z,now,-z,relro $(if $(SANITIZE),,-Wl,-z,defs)
comma    := ,
pkg       = $(shell pkg-config --$(1) $(2))

# --- what there is to build -------------------------------------------------------------------

STUB_SRC := $(wildcard shim/load/stub*.c)
STUB_SRC += $(if $(STUB_SRC),$(wildcard shim/load/conf.c))
SHIM_SRC := $(wildcard shim/spec/functions.c shim/spec/structures.c shim/spec/mechanisms.c shim/spec/attributes.c shim/spec/callset.c shim/spec/triggers.c shim/spec/settings.c) \
            $(filter-out shim/load/stub%.c,$(wildcard shim/trace/*.c shim/record/*.c shim/load/*.c))
# The decoder shares the tables, the format helpers and the reader of the configuration file with the shim.
DEC_SRC  := $(wildcard decoder/*/*.c decoder/*/*/*.c)
DEC_ASM  := $(wildcard decoder/*/*.S)
DEC_SHIM := $(wildcard shim/spec/*.c shim/trace/*.c shim/load/conf.c)

# The token: the module and the tool are made of the same files; the tool has its own besides.
MOD_SRC  := $(filter-out module/tool/% module/faulty/%,$(wildcard module/*.c module/*/*.c))
MOD_SHIM := shim/spec/functions.c shim/spec/structures.c shim/spec/mechanisms.c shim/spec/attributes.c shim/spec/constants.c
TOOL_SRC := $(wildcard module/tool/*.c)
# A module of its own, which goes in front of another and breaks it: module/faulty/README.md.
FLT_SRC  := $(wildcard module/faulty/*.c)
FLT_SHIM := shim/spec/functions.c shim/spec/constants.c shim/spec/attributes.c

CLIENTS  := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/clients/*.c)) \
            $(patsubst %.cc,$(BUILD)/%,$(wildcard tests/clients/*.cc))
MOCKS    := $(patsubst %.c,$(BUILD)/%.so,$(wildcard tests/mocks/*.c)) \
            $(patsubst %.cc,$(BUILD)/%.so,$(wildcard tests/mocks/*.cc))
BENCH    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))

RECORDER := $(if $(filter shim/load/%,$(SHIM_SRC)),$(BUILD)/libp11trace.so)
STUB     := $(if $(strip $(STUB_SRC)),$(BUILD)/p11stub.so)
DECODER  := $(if $(wildcard decoder/cmd/main.c),$(BUILD)/p11trace)
TOKEN    := $(BUILD)/libp11token.so $(if $(TOOL_SRC),$(BUILD)/p11token)
FAULTY   := $(if $(FLT_SRC),$(BUILD)/libp11faulty.so)

obj       = $(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(filter %.c,$(2))) \
            $(patsubst %.S,$(BUILD)/obj/$(1)/%.o,$(filter %.S,$(2)))
SHIM_OBJ := $(call obj,shim,$(SHIM_SRC))
STUB_OBJ := $(call obj,stub,$(STUB_SRC))
DEC_OBJ  := $(call obj,decoder,$(DEC_SRC) $(DEC_ASM) $(DEC_SHIM))
MOD_OBJ  := $(call obj,module,$(MOD_SRC) $(MOD_SHIM))
TOOL_OBJ := $(call obj,module,$(TOOL_SRC))
FLT_OBJ  := $(call obj,module,$(FLT_SRC) $(FLT_SHIM))

.PHONY: all help deps demo check check-long check-asan check-tsan bench lint install clean
all: $(RECORDER) $(STUB) $(DECODER) $(TOKEN) $(FAULTY) $(CLIENTS) $(MOCKS) $(BENCH)

help:
	@echo 'make [all]       build the shim, the decoder, the token, the test clients and mocks under $(BUILD)/'
	@echo 'make demo        trace an NSS session from beginning to end; the traces stay under $(BUILD)/demo'
	@echo 'make check       the tests, counted loops with a tenth of their counts (check-long: in full)'
	@echo 'make check-asan  the tests under AddressSanitizer and UBSan; check-tsan: the thread tests under TSan'
	@echo 'make bench       costs beside pkcs11-spy, p11-kit, SoftHSM and softoken; make lint: warnings, layout, format'
	@echo 'make deps        install the Debian packages that all of these need (NO_INSTALL=1: only name them)'
	@echo 'make install     PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'

# --- the recorder: needs nothing but libc; libzstd and libsodium are inside and hidden ----------

$(BUILD)/libp11trace.so: MAP := $(addprefix -Wl$(comma)--version-script=,$(wildcard shim/load/exports.map))
$(BUILD)/libp11trace.so: $(SHIM_OBJ) $(wildcard shim/load/exports.map)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SAN) $(LDFLAGS) $(HARDEN) -Wl,-z,nodelete -Wl,--exclude-libs,ALL -Wl,-soname,libp11trace.so \
	  $(MAP) -o $@ $(SHIM_OBJ) -l:libzstd.a -l:libsodium.a
	$(Q)test -n "$(SANITIZE)" || ! LC_ALL=C readelf -d $@ | grep NEEDED | grep -v -e 'libc\.so\.6' -e 'ld-linux' || \
	  { echo "$@: the recorder may need libc only" >&2; exit 1; }

# --- the stub: what `p11trace wrap` writes out; it must be unloadable, so no TLS, no nodelete --

$(BUILD)/p11stub.so: MAP := $(addprefix -Wl$(comma)--version-script=,$(wildcard shim/load/stub.map))
$(BUILD)/p11stub.so: $(STUB_OBJ) $(wildcard shim/load/stub.map)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SAN) $(LDFLAGS) $(HARDEN) $(MAP) -o $@ $(STUB_OBJ)

# --- the decoder: carries the stub as data (STUB_PATH is for .incbin) --------------------------

$(BUILD)/p11trace: $(DEC_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -pie -Wl,-z,now,-z,relro -o $@ $(DEC_OBJ) -lzstd -ljansson -lcrypto -lsodium -ldw -lelf -lm

$(BUILD)/obj/decoder/decoder/cmd/stub_blob.o: $(STUB)
$(BUILD)/obj/decoder/decoder/report/page_blob.o: $(wildcard decoder/report/page/*)
$(DEC_OBJ): FLAGS := -fPIE -DSTUB_PATH='"$(BUILD)/p11stub.so"'
$(SHIM_OBJ) $(STUB_OBJ): FLAGS := $(SHARED)

# --- the token: SQLite and libcrypto inside and hidden -------------------------------------------------------------
# So a host with other copies is not disturbed, nor are we by its: an engine that the host makes its default is asked for
# RSA and EC in every library context of its libcrypto (openssl -engine pkcs11 would lead from us back to us), and a host
# that exits shuts its libcrypto down before it finalises us. A packager who wants the system's: TOKEN_CRYPTO=-lcrypto.
# It is never unloaded: a thread that has used libcrypto runs a function of it at its end, which may be after dlclose.
TOKEN_CRYPTO ?= -l:libcrypto.a
MODLINK   = $(HARDEN) -l:libsqlite3.a $(TOKEN_CRYPTO) -lm -lpthread -ldl
$(sort $(MOD_OBJ) $(FLT_OBJ)): FLAGS := $(SHARED) $(MODINC)
$(TOOL_OBJ): FLAGS := -fPIE $(MODINC)

$(BUILD)/libp11token.so: $(MOD_OBJ) module/exports.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SAN) $(LDFLAGS) -Wl,-z,nodelete -Wl,--exclude-libs,ALL -Wl,-soname,libp11token.so \
	  -Wl,--version-script=module/exports.map -o $@ $(MOD_OBJ) $(MODLINK)

$(BUILD)/p11token: $(MOD_OBJ) $(TOOL_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SAN) $(LDFLAGS) -pie -o $@ $(MOD_OBJ) $(TOOL_OBJ) $(filter-out -Wl$(comma)-z$(comma)defs,$(MODLINK))

$(BUILD)/libp11faulty.so: $(FLT_OBJ) module/exports.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SAN) $(LDFLAGS) $(HARDEN) -Wl,-soname,libp11faulty.so -Wl,--version-script=module/exports.map \
	  -o $@ $(FLT_OBJ) -lpthread -ldl

compile = $(Q)mkdir -p $(@D) && $(CC) $(BASE) $(FLAGS) $(CPPFLAGS) $(CFLAGS) $(SAN) -c -o $@ $<

$(BUILD)/obj/shim/%.o: %.c | $(BUILD)/.tools
	$(call say,CC,$<)
	$(compile)
$(BUILD)/obj/stub/%.o: %.c | $(BUILD)/.tools
	$(call say,CC,$<)
	$(compile)
$(BUILD)/obj/decoder/%.o: %.c | $(BUILD)/.tools
	$(call say,CC,$<)
	$(compile)
$(BUILD)/obj/module/%.o: %.c | $(BUILD)/.tools
	$(call say,CC,$<)
	$(compile)
$(BUILD)/obj/decoder/%.o: %.S | $(BUILD)/.tools
	$(call say,AS,$<)
	$(compile)

# --- test programs: one source, one program or module; nss_*.c are built against NSS -----------

TESTINC   = -Itests/clients $(if $(filter nss_%,$(notdir $@)),$(call pkg,cflags,nss))
TESTLIBS  = $(if $(filter nss_%,$(notdir $@)),$(call pkg,libs,nss)) $(if $(filter token_load,$(notdir $@)),-lcrypto) \
            -ldl -lpthread

$(BUILD)/tests/clients/% $(BUILD)/tests/bench/%: FLAGS := -fexceptions
$(BUILD)/tests/%: tests/%.c | $(BUILD)/.tools
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) -MF $@.d $(FLAGS) $(TESTINC) $(CPPFLAGS) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $< $(TESTLIBS)
$(BUILD)/tests/%: tests/%.cc | $(BUILD)/.tools
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++17 -D_GNU_SOURCE $(WARN) -MMD -MP -MF $@.d -I. -Ishim/spec $(TESTINC) \
	  $(CPPFLAGS) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $< $(TESTLIBS)
$(BUILD)/tests/mocks/%.so: tests/mocks/%.c | $(BUILD)/.tools
	$(call say,MODULE,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) -MF $@.d -fPIC -fexceptions $(TESTINC) $(CPPFLAGS) $(CFLAGS) $(SAN) $(LDFLAGS) \
	  -shared -o $@ $< $(TESTLIBS)
$(BUILD)/tests/mocks/%.so: tests/mocks/%.cc | $(BUILD)/.tools
	$(call say,MODULE,$<)
	$(Q)mkdir -p $(@D) && $(CXX) -std=c++17 -D_GNU_SOURCE $(WARN) -MMD -MP -MF $@.d -I. -Ishim/spec -fPIC $(CPPFLAGS) \
	  $(CFLAGS) $(SAN) $(LDFLAGS) -shared -o $@ $<

-include $(SHIM_OBJ:.o=.d) $(STUB_OBJ:.o=.d) $(DEC_OBJ:.o=.d) $(MOD_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(FLT_OBJ:.o=.d) $(CLIENTS:=.d) $(MOCKS:=.d) $(BENCH:=.d)

# A clear word instead of forty compiler errors when a package is missing; looked at once per build folder.
$(BUILD)/.tools: Makefile
	@mkdir -p $(@D)
	@command -v $(firstword $(CC)) >/dev/null || { echo "no compiler ($(CC)): run 'make deps', or see README.md" >&2; exit 2; }
	@for h in zstd.h sodium.h xxhash.h jansson.h elfutils/libdw.h openssl/x509.h sqlite3.h; do \
	  printf '#include <stddef.h>\n#include <stdio.h>\n#include <%s>\n' $$h | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 || \
	    { echo "header <$$h> is missing: run 'make deps', or see README.md" >&2; exit 2; }; done
	@touch $@

# --- verbs -------------------------------------------------------------------------------------
# The packages come first and the build after them, so these call make again.

deps:
	@tests/deps.sh build demo check

demo:
	@tests/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) examples/modutil-chain/demo.sh

check:
	@tests/deps.sh build demo check
	@$(MAKE) --no-print-directory all
	@P11TRACE_BUILD=$(BUILD) $(PYTEST) -c tests/pytest.ini tests $(PYTEST_ARGS) $(PYTEST_END)

check-long: export P11TRACE_LONG := 1
check-long: check

check-asan:
	@tests/deps.sh build demo check
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)/asan SANITIZE=address,undefined
	@P11TRACE_BUILD=$(BUILD)/asan P11TRACE_SANITIZE=address \
	  $(PYTEST) -c tests/pytest.ini tests -m 'not nosan and not inprocess' $(PYTEST_ARGS)
	@P11TRACE_BUILD=$(BUILD)/asan P11TRACE_SANITIZE=address ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	  $(PYTEST) -c tests/pytest.ini tests -m 'not nosan and inprocess' $(PYTEST_ARGS)

check-tsan:
	@tests/deps.sh build demo check
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)/tsan SANITIZE=thread
	@P11TRACE_BUILD=$(BUILD)/tsan P11TRACE_SANITIZE=thread \
	  $(PYTEST) -c tests/pytest.ini tests -m 'threads and not nosan and not inprocess' $(PYTEST_ARGS)
	@P11TRACE_BUILD=$(BUILD)/tsan P11TRACE_SANITIZE=thread LD_PRELOAD="$$($(CC) -print-file-name=libtsan.so)" \
	  $(PYTEST) -c tests/pytest.ini tests -m 'threads and not nosan and inprocess' $(PYTEST_ARGS)

bench:
	@tests/deps.sh build demo check
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/bench/bench.py --build $(BUILD)
	@$(PYTHON) tests/bench/stacks.py --build $(BUILD)
	@$(PYTHON) tests/bench/decode.py --build $(BUILD)
	@$(PYTHON) tests/bench/compare_tokens.py --build $(BUILD)
	@$(PYTHON) tests/bench/firefox_start.py --build $(BUILD)

lint:
	@tests/deps.sh build lint
	@MAKE='$(MAKE)' tests/lint.sh $(BUILD)/lint

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(BUILD)/p11trace $(BUILD)/p11token $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BUILD)/libp11trace.so $(BUILD)/libp11token.so $(BUILD)/libp11faulty.so $(DESTDIR)$(PREFIX)/lib/

clean:
	rm -rf $(BUILD)
