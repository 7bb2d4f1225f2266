"""The wire protocols: native, tus and rufh. Pure: header text in, commands out; outcomes in, replies out."""
