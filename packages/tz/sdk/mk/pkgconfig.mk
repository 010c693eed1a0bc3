# What pkg-config says of packages: $(call pkgconfig_cflags, NAMES) and so on. PKG_CONFIG_PATH is that of make.
PKG_CONFIG ?= pkg-config
pkgconfig_run = $(shell PKG_CONFIG_PATH='$(PKG_CONFIG_PATH)' $(PKG_CONFIG) $(1) $(strip $(2)))
pkgconfig_cflags = $(call pkgconfig_run,--cflags,$(1))
pkgconfig_ldlibs = $(call pkgconfig_run,--libs-only-l --static,$(1))
pkgconfig_ldflags = $(filter-out -l%,$(call pkgconfig_run,--libs --static,$(1)))
