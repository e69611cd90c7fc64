"""pytester runs tests of tests: the plugin as a user's own suite meets it."""

pytest_plugins = ["pytester"]
