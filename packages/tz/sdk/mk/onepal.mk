# A PAL of several objects, and a program that holds it; needs pal.mk. Must be set: PAL_NAME, PAL_OBJS; for the program PROG_NAME,
# PROG_OBJS; with it PKGCONFIG_DEPS, CFLAGS and so on. `make $(PAL_NAME).pal` makes the image that an application in TypeScript loads.
CFLAGS += $(call pkgconfig_cflags,$(PKGCONFIG_DEPS))
LDLIBS += $(call pkgconfig_ldlibs,$(PKGCONFIG_DEPS))
LDFLAGS += $(call pkgconfig_ldflags,$(PKGCONFIG_DEPS))

$(PAL_NAME).pal.o: $(PAL_OBJS)

ifneq ($(PROG_NAME),)
# What it was set to, as this file may be included again with other values.
$(PROG_NAME): OBJS := $(PROG_OBJS)
$(PROG_NAME): PAL_FILE := $(PAL_NAME).pal
ifeq ($(filter tee-sdk-svc-null,$(PAL_PKGCONFIG_DEPS)),)
$(PROG_NAME): $(PROG_OBJS) $(PAL_NAME).pal.o $(PAL_NAME).pal.ld
	$(CC) $(LDFLAGS) -o $@ $(OBJS) $(PAL_FILE).o $(LDLIBS) -T$(PAL_FILE).ld
else
# For development: the PAL is a function of the program.
$(PROG_NAME): ONE_OBJS := $(PAL_OBJS)
$(PROG_NAME): $(PROG_OBJS) $(PAL_OBJS)
	$(CC) $(LDFLAGS) -o $@ $(OBJS) $(ONE_OBJS) $(LDLIBS) $(PAL_LDFLAGS) $(PAL_LDLIBS)
$(PAL_OBJS): CFLAGS = $(pal_cflags)
endif
endif
