# Rules for PALs; needs pkgconfig.mk. Of NAME.o, and what else NAME.pal.o is said to depend on (onepal.mk does that):
#
#   make NAME.pal      an image for @casemate/trustvisor, by `pal build` of @casemate/pal-linker. The entry is the function NAME.
#   make NAME.pal.o    the classic way of the TEE-SDK: one relocatable object that shows the function NAME alone
#   make NAME.pal.ld   and the linker script that gives it pages of its own in an application
#
# Variables: PAL_CC, PAL_CFLAGS, PAL_LDFLAGS, PAL_LDLIBS, PAL_PKGCONFIG_DEPS (tee-sdk-svc tee-sdk-svc-tv, or tee-sdk-svc-null for a program
# that calls the PAL as a function of its own), PAL_VERSION, PAL_HEAP (bytes for malloc), PAL (the command), PAL_BUILD_OPTIONS (more of its
# options, such as --replay-protected or --signing-key FILE), PAL_DEFINES (-DPAL_RESERVED_COMMANDS).
OBJCOPY ?= objcopy
NM ?= nm
PAL_CC := $(or $(PAL_CC),$(CC))
PAL ?= npx pal
PAL_VERSION ?= 1.0.0
PAL_HEAP ?= 1m
TEESDK_DATA_DIR ?= $(call pkgconfig_run,--variable=pkgdatadir,tee-sdk-app)

# At once, as they may be said in terms of CFLAGS, which become these where a PAL is made.
PAL_CFLAGS := $(PAL_CFLAGS) $(call pkgconfig_cflags,$(PAL_PKGCONFIG_DEPS))
PAL_LDFLAGS := $(PAL_LDFLAGS) $(call pkgconfig_ldflags,$(PAL_PKGCONFIG_DEPS))
PAL_LDLIBS := $(PAL_LDLIBS) $(call pkgconfig_ldlibs,$(PAL_PKGCONFIG_DEPS))

ifeq ($(filter tee-sdk-svc-null,$(PAL_PKGCONFIG_DEPS)),)
# The SDK's C library in place of the host's, and the compiler's own headers. Sources for the original ask for 32 bits: here it is 64.
pal_cflags = $(PAL_CFLAGS) $(if $(filter -O%,$(PAL_CFLAGS)),,-O2) -m64 -nostdinc -isystem $(TEESDK_DATA_DIR)/include \
	-isystem $(shell $(PAL_CC) -print-file-name=include) -fno-pic -fno-stack-protector -fcf-protection=none -mno-avx \
	-ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -ffile-prefix-map=$(CURDIR)=.
pal_ldflags = $(PAL_LDFLAGS) -m64
else
pal_cflags = $(PAL_CFLAGS)
pal_ldflags = $(PAL_LDFLAGS)
endif

# Make's own recipe for C, with what is a PAL's. Objects of the PAL are known by being prerequisites of these.
%.pal.o %.pal: CC = $(PAL_CC)
%.pal.o %.pal: CFLAGS = $(pal_cflags)
%.pal.o %.pal: LDFLAGS = $(pal_ldflags)
%.pal.o %.pal: LDLIBS = $(PAL_LDLIBS)

pal_symbol = $(subst -,_,$*)

# For an image: the objects, start code that knows the entry, what they need of the libraries. `pal build` gives it addresses.
# It depends on what NAME.pal.o depends on, so it is made by way of it.
%.pal: %.pal.o
	$(PAL_CC) $(pal_cflags) -DPAL_ENTRY=$(pal_symbol) $(PAL_DEFINES) -c $(TEESDK_DATA_DIR)/pal-start.c -o $*.start.o
	$(PAL_CC) -r -nostdlib $(pal_ldflags) -o $*.linked.o $*.objects.o $*.start.o $(PAL_LDLIBS)
	$(PAL) build $*.linked.o --engine kvm --sdk none --name $* --version $(PAL_VERSION) --entry $(pal_symbol) --start __pal_start \
		--heap $(PAL_HEAP) $(PAL_BUILD_OPTIONS) --out $@
	rm -f $*.start.o $*.linked.o

# All names but the entry become private; undefined ones are not allowed.
%.pal.o: %.o
	$(PAL_CC) -r -nostdlib $(pal_ldflags) -o $*.objects.o $(filter %.o,$^)
	$(PAL_CC) $(pal_cflags) -DPAL_HEAP_BYTES='$(subst m,*1024*1024,$(subst k,*1024,$(PAL_HEAP)))' -c $(TEESDK_DATA_DIR)/pal-classic.c -o $*.classic.o
	$(PAL_CC) -r -nostdlib -Wl,-d $(pal_ldflags) -o $@ $*.objects.o $*.classic.o $(PAL_LDLIBS)
	rm -f $*.classic.o
	$(OBJCOPY) -G $(pal_symbol) $@
	@if test -n "`$(NM) -u $@`"; then echo "$@: these names are not defined:"; $(NM) -u $@; rm -f $@; false; fi

%.pal.ld: $(TEESDK_DATA_DIR)/pal-template.ld
	sed 's/PAL_NAME/$*/g' $< > $@
