// jest's workers ask for colours where jest itself has a terminal: what tests start is not to have them.
delete process.env.FORCE_COLOR;
