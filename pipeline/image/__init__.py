"""Still images: reading, deraining and writing them."""
